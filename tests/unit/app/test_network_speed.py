"""The line to a peer: measured where one has something to fetch, absent where none has."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
import pytest
from capacity_lab import CapacityLab, Stall, capacity_lab

from openstall.app.services.capacity import network_speed
from openstall.app.services.capacity.claims import claim_of
from openstall.app.services.capacity.network_speed import DOWN, LEAST_BYTES, ROUND_TRIP, Line
from openstall.app.services.renting import OFFER_KEY
from openstall.market.fields import BlobRef


async def claim_with_proof(lab: CapacityLab, stall: Stall, size: int, *, given: bool = True) -> BlobRef:
    """A claim of that stall whose proof has so many bytes, and is given to everybody or to nobody."""
    file = await stall.side.file("proof.bin", secrets.token_bytes(size))
    if given:
        stall.side.access.make_public(file.blob.cid)
    claim = claim_of(lab.claim(stall))
    works = [msgspec.structs.replace(claim.works[0], proof=file.blob)]
    lab.shelf.put(stall.side, "capacity", OFFER_KEY, msgspec.structs.replace(claim, works=works))
    return file.blob


async def test_a_file_of_another_claimant_measures_the_line_and_is_not_kept(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await claim_with_proof(lab, lab.oracles[0], LEAST_BYTES, given=False)
        blob = await claim_with_proof(lab, lab.stranger, 2 * LEAST_BYTES)
        figures = {figure.name: figure for figure in await lab.buyer.capacity.claims.line()}
        assert figures[DOWN].value > 0
        assert figures[DOWN].unit == "kB/s"
        assert set(figures) <= {DOWN, ROUND_TRIP}
        assert not lab.buyer.side.blobs.have(blob.cid)


async def test_where_nobody_answers_there_is_no_figure(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        line = lab.buyer.capacity.claims.line
        assert await line() == []
        await claim_with_proof(lab, lab.oracles[0], LEAST_BYTES, given=False)
        await claim_with_proof(lab, lab.oracles[1], LEAST_BYTES - 1)
        assert await line() == []


async def test_what_was_here_before_is_neither_measured_nor_removed(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        blob = await claim_with_proof(lab, lab.stranger, LEAST_BYTES)
        buyer = lab.buyer
        await buyer.side.transfer.fetch(blob.cid, [lab.stranger.peer_id], expected_size_max=blob.size)
        assert await buyer.capacity.claims.line() == []
        assert buyer.side.blobs.have(blob.cid)


async def test_a_peer_that_sends_too_slowly_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with capacity_lab(tmp_path) as lab:
        await claim_with_proof(lab, lab.stranger, LEAST_BYTES)
        monkeypatch.setattr(network_speed, "LONGEST_S", 0)
        assert await lab.buyer.capacity.claims.line() == []


def test_too_little_says_nothing() -> None:
    line = Line()
    assert line.as_dict() == {}
    line.add(LEAST_BYTES - 1, 0.001)
    assert line.as_dict() == {}
    line.add(1_000_000, 0.999)
    line.rtt_ms = 7
    assert line.as_dict() == {"kb_per_s": (LEAST_BYTES - 1 + 1_000_000) // 1_000, "round_trip_ms": 7}
