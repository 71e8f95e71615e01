"""How a job ended, as the provider signs it: state, seconds, and the addresses of its artefacts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.orders.documents import Contract, InputFile, Time
from openstall.market.records import Amount, Body, Sha256, Short, Text

MAX_RESULT_BYTES = 32 * 1024


class JobReport(Body, frozen=True, kw_only=True):
    """The end of a job; `words` is for the buyer's eyes, `reason` a stable code."""

    order: Sha256
    state: Annotated[str, Meta(pattern=r"^(done|failed|cancelled|refused|limit)$")]
    reason: Short
    words: Text
    seconds: Annotated[int, Meta(ge=0)]
    owed_micro: Amount
    outputs: Annotated[list[InputFile], Meta(max_length=16)]
    at: Time


class SignedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that was checked, with its wire bytes as evidence."""

    report: JobReport
    raw: bytes


def sign_report(report: JobReport, contract: Contract, seed: bytes) -> SignedReport:
    """Sign with the provider's peer seed."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    signature = ids.sign(seed, "job-report", contract.order.network, canonical.encode(plain))
    return SignedReport(report=report, raw=canonical.encode({"report": plain, "sig": signature}))


def read_report(raw: bytes, contract: Contract) -> SignedReport:
    """Check a report from the provider.

    Raises:
        InvalidOrder: not the provider's, for another order, or asking for more than was agreed.
    """
    try:
        value = canonical.decode(raw, max_bytes=MAX_RESULT_BYTES)
        if not isinstance(value, dict) or value.keys() != {"report", "sig"} or not isinstance(value["sig"], str):
            raise InvalidOrder("bad_schema", "The provider's report does not fit its schema.")
        report = msgspec.convert(value["report"], JobReport)
        content = canonical.encode(value["report"])
        ids.verify(contract.order.seller, value["sig"], "job-report", contract.order.network, content)
    except (InvalidRecord, msgspec.ValidationError) as error:
        raise InvalidOrder("bad_report", "The provider's report on the job is not valid.") from error
    terms = contract.compute
    if report.order != contract.order_id:
        raise InvalidOrder("other_order", "The provider's report belongs to another order.")
    if report.owed_micro > min(terms.cap_micro, terms.price_per_s_micro * report.seconds):
        raise InvalidOrder("report_price", "The provider's report asks for more than was agreed.")
    if len({output.name for output in report.outputs}) != len(report.outputs):
        raise InvalidOrder("duplicate_file", "The provider's report names one file twice.")
    return SignedReport(report=report, raw=raw)
