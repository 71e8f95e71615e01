"""Whatever bytes a stranger sends, a decoder refuses them in one way; `python3 dev.py fuzz` tries more."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import decoders
import mutators
import pytest
from decoders import DECODERS, Decoder

from openstall.market.errors import OpenstallError

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).with_name("found")
CHANGES = 150


def tried(decoder: Decoder, data: bytes) -> bool:
    """Whether it was read; raises what a stranger must not be able to cause."""
    try:
        decoder.read(data)
    except OpenstallError:
        return False
    return True


@pytest.mark.parametrize("name", [one.name for one in DECODERS])
def test_any_change_is_read_or_refused_in_one_way(name: str) -> None:
    decoder = decoders.decoder(name)
    draw = random.Random(name)
    seeds = decoder.seeds()
    # A refusal is an answer too, and one of a contract is what the seeds of some decoders end in.
    assert any(tried(decoder, seed) for seed in seeds)
    for number in range(CHANGES):
        seed = seeds[number % len(seeds)]
        tried(decoder, _bytes_changed(seed, draw))
        if decoder.json:
            changed = mutators.encode(mutators.mutate(json.loads(decoder.open(seed)), draw))
            tried(decoder, changed)


def _bytes_changed(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8))):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(3):
            case 0:
                changed[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del changed[place : place + draw.choice((1, 4, 400))]
            case _:
                changed[place:place] = draw.choice(
                    (b"\xff", b"\0", b"[" * 3000, b'"', b"\xed\xa0\x80", b"9" * 5000)
                )
    return bytes(changed)


@pytest.mark.parametrize(
    "path", [pytest.param(one, id=f"{one.parent.name}/{one.name}") for one in FOUND.glob("*/*")]
)
def test_what_once_ended_a_decoder_does_so_no_more(path: Path) -> None:
    tried(decoders.decoder(path.parent.name), path.read_bytes())


def test_no_reader_of_foreign_bytes_catches_less_than_they_can_cause() -> None:
    """msgspec also raises UnicodeDecodeError and RecursionError: who catches less is ended from outside."""
    careless = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in ("p2p", "app")
        for path in (ROOT / room).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if re.search(r"except .*msgspec\.(DecodeError|MsgspecError)", line) and "RecursionError" not in line
    ]
    assert careless == []
