"""What one side of the lab of models made to order asks another, and the words of a refusal."""

from __future__ import annotations

from typing import Any

import pytest
from custom_lab import Maker

from openstall.app.services.custom import wire
from openstall.market import canonical
from openstall.market.errors import PeerError

NOBODY = "ab" * 32
PLAIN = {"attempt": 0, "statement": "", "signature": ""}
"""What every message names, whether it is needed or not."""
STRANGER = ("no_such_order", "There is no such order.")


async def ask(asker: Maker, asked: Maker, **message: Any) -> dict[str, Any]:
    raw = await asker.host.request(
        asked.host.peer_id,
        wire.PROTOCOL,
        canonical.encode(PLAIN | message),
        timeout_s=10,
        max_response=wire.MOST_ANSWER,
    )
    found: dict[str, Any] = canonical.decode(raw, max_bytes=wire.MOST_ANSWER)
    return found


async def refusal(asker: Maker, asked: Maker, **message: Any) -> tuple[str, str]:
    with pytest.raises(PeerError) as caught:
        await ask(asker, asked, **message)
    return caught.value.code, caught.value.message
