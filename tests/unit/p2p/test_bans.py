from __future__ import annotations

from pathlib import Path

import pytest

from openstall.market.errors import PeerError, StoreError
from openstall.market.ids import peer_id_of_seed
from openstall.p2p.bans import LONGEST_S, MAX_BANS, REMEMBERED_S, BanList, Bouncer
from openstall.p2p.limits import BAN_S

ANNA, BEN = (peer_id_of_seed(bytes([number]) * 32) for number in (1, 2))


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_ban_of_the_owner_is_for_good_and_survives_a_restart(tmp_path: Path) -> None:
    path, clock = tmp_path / "bans.json", Clock()
    bans = BanList(path, now=clock)
    bans.shut_out(ANNA, by="you", reason="sells what is not hers")
    bans.shut_out("192.0.2.7/24", by="you", reason="a flood", for_s=60)
    bans.save()
    clock.now += 10
    again = BanList(path, now=clock)
    ban = again.holds_peer(ANNA)
    assert ban is not None
    assert (ban.reason, ban.until) == ("sells what is not hers", 0)
    assert again.holds_peer(BEN) is None
    assert again.holds_address("/ip4/192.0.2.200/tcp/1") is not None
    assert again.holds_address("/ip4/192.0.3.200/tcp/1") is None
    clock.now += 60
    assert again.holds_address("/ip4/192.0.2.200/tcp/1") is None, "its time is over"
    assert [one.what for one in again.all()] == [ANNA]


def test_who_misbehaves_again_and_again_is_shut_out_for_longer_up_to_a_day() -> None:
    clock = Clock()
    bans = BanList(None, now=clock)
    times = []
    for _ in range(12):
        ban = bans.shut_out(ANNA, by="node", reason="bad records")
        times.append(ban.until - ban.since)
        clock.now = ban.until + 1
        assert bans.holds_peer(ANNA) is None
    assert times[:3] == [BAN_S, 2 * BAN_S, 4 * BAN_S]
    assert times[-1] == LONGEST_S
    clock.now += REMEMBERED_S
    ban = bans.shut_out(ANNA, by="node", reason="bad records")
    assert ban.until - ban.since == BAN_S, "after a quiet week it counts from the beginning"


def test_the_node_does_not_shorten_what_the_owner_said() -> None:
    bans = BanList(None, now=Clock())
    bans.shut_out(ANNA, by="you", reason="")
    assert bans.shut_out(ANNA, by="node", reason="flood").by == "you"


def test_taking_a_ban_back() -> None:
    bouncer = Bouncer(None, clock=Clock())
    while not bouncer.penalise(ANNA, 40, "bad records"):
        assert not bouncer.is_banned(ANNA)
    assert bouncer.is_banned(ANNA)
    assert bouncer.readmit(f" {ANNA} ")
    assert not bouncer.is_banned(ANNA)
    assert bouncer.score(ANNA) == 0
    assert not bouncer.readmit(ANNA)
    assert [one.points for one in bouncer.recent] == [40, 40, 40]


@pytest.mark.parametrize("what", ["", "x", "0.0.0.0/0", "192.0.0.0/8", "::/0", "not/a/network", ANNA[:-1]])
def test_what_cannot_be_banned(what: str) -> None:
    with pytest.raises(PeerError):
        BanList(None).shut_out(what, by="you", reason="")


def test_the_list_has_an_end_and_keeps_the_words_of_the_owner() -> None:
    bans = BanList(None, now=Clock())
    bans.shut_out(ANNA, by="you", reason="")
    for number in range(MAX_BANS + 5):
        bans.shut_out(peer_id_of_seed(number.to_bytes(32, "big")), by="node", reason="")
    assert len(bans.all()) == MAX_BANS
    assert bans.holds_peer(ANNA) is not None


@pytest.mark.parametrize("raw", [b"{", b'[{"what":"\xff"}]', b"[" * 5000, b'[{"what":"0.0.0.0/0"}]'])
def test_a_damaged_list_is_set_aside(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bans.json"
    path.write_bytes(raw)
    assert BanList(path).all() == []
    assert path.with_suffix(".damaged").exists()


def test_a_list_that_cannot_be_saved_is_told(tmp_path: Path) -> None:
    bans = BanList(tmp_path / "gone" / "bans.json")
    bans.shut_out(ANNA, by="you", reason="")
    with pytest.raises(StoreError):
        bans.save()
