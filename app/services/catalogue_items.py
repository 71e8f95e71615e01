"""A record as the local API shows it."""

from __future__ import annotations

from typing import Any

from openstall.market.orders.agree import arbitration
from openstall.market.orders.words import arbitration_words
from openstall.market.records import Record
from openstall.store.records import RecordRow


def item_of(
    cid: str,
    record: RecordRow | Record,
    body: dict[str, Any],
    *,
    name: str,
    mine: bool,
    reachable: bool,
    live: bool,
    contradicted: dict[str, str] | None,
) -> dict[str, Any]:
    """One record; what its author's name deserves is added by others."""
    return {
        "cid": cid,
        "type": record.type,
        "key": record.key,
        "author": record.author,
        "author_name": name,
        "seq": record.seq,
        "issued": record.issued,
        "expires": record.expires,
        "body": body,
        "mine": mine,
        "reachable": reachable,
        "live": live,
        "contradicted": contradicted,
    }


def arbitration_of(listing: dict[str, Any]) -> dict[str, Any] | None:
    """What an order of a listing will say about its arbiter, with words for a buyer; None without one."""
    if not listing["arbiter"]:
        return None
    terms = arbitration()
    fee, silence = arbitration_words(listing["price_micro"], **terms)
    return {**terms, "fee_words": fee, "silence_words": silence}
