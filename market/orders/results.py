"""How a job ended, as the provider signs it: state, seconds, and the addresses of its artefacts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids, text
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Time
from openstall.market.metering import owed
from openstall.market.orders.documents import Contract, InputFile
from openstall.market.records import Amount, Body, Sha256, Short, Text, has_twins
from openstall.market.schema import fit

MAX_RESULT_BYTES = 32 * 1024


class JobReport(Body, frozen=True, kw_only=True):
    """The end of a job; `words` is for the buyer's eyes, `reason` a stable code."""

    order: Sha256
    state: Annotated[str, Meta(pattern=r"^(done|failed|cancelled|refused|limit)\Z")]
    reason: Short
    words: Text
    seconds: Annotated[int, Meta(ge=0)]
    owed_micro: Amount
    outputs: Annotated[list[InputFile], Meta(max_length=16)]
    at: Time


class _SignedReport(Body, frozen=True, kw_only=True):
    report: JobReport
    sig: Annotated[str, Meta(max_length=86)]


class SignedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that was checked, with its wire bytes as evidence."""

    report: JobReport
    raw: bytes


def sign_report(report: JobReport, contract: Contract, seed: bytes) -> SignedReport:
    """Sign with the provider's peer seed.

    `reason` and `words` may hold what a job printed, so they are cleaned of what a reader would refuse.
    """
    report = msgspec.structs.replace(
        report, reason=text.clean(report.reason), words=text.clean(report.words, lines=True)
    )
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
        signed = fit(value, _SignedReport, "report")
        report = signed.report
        text.refuse_hidden(report)
        content = canonical.encode(value["report"])
        ids.verify(contract.order.seller, signed.sig, "job-report", contract.order.network, content)
    except InvalidRecord as error:
        raise InvalidOrder("bad_report", "The provider's report on the job is not valid.") from error
    terms = contract.compute
    if report.order != contract.order_id:
        raise InvalidOrder("other_order", "The provider's report belongs to another order.")
    if report.seconds > terms.max_s or report.owed_micro > owed(
        terms.price_per_s_micro, terms.cap_micro, report.seconds
    ):
        raise InvalidOrder("report_price", "The provider's report asks for more than was agreed.")
    if has_twins([output.name for output in report.outputs]):
        raise InvalidOrder("duplicate_file", "The provider's report names one file twice.")
    return SignedReport(report=report, raw=raw)
