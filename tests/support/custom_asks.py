"""What one side of the lab of models made to order asks another, and the words of a refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from custom_lab import Maker
from msgspec import structs

from openstall.app.services.custom import wire
from openstall.app.services.custom.sources import Sources
from openstall.app.services.custom.talk import SealedTraining
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


def rename_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A requester with a changed client, which names the file of its training data as it likes."""
    honest = Sources.training_of

    async def renamed(self: Sources, request_cid: str) -> SealedTraining:
        found = await honest(self, request_cid)
        return replace(found, file=structs.replace(found.file, name="conftest.py"))

    monkeypatch.setattr(Sources, "training_of", renamed)
