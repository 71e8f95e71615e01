from __future__ import annotations

from contextlib import ExitStack

from openstall.p2p.admission import Entrance
from openstall.p2p.limits import Budgets, HostLimits, Rate, Room, TimeBudget

LIMITS = HostLimits(max_inbound_per_network=3, max_handshakes=5, max_handshakes_per_network=2)


def entrance(limits: HostLimits = LIMITS) -> Entrance:
    return Entrance(limits, shut_out=lambda address: "198.51.100." in address)


def at(network: int, host: int = 1) -> str:
    return f"/ip4/203.0.{network}.{host}/tcp/4001"


def test_one_network_has_so_many_places_and_gets_them_back() -> None:
    door = entrance()
    with ExitStack() as stack:
        for host in range(3):
            slot = door.slot(at(1, host))
            assert slot is not None
            stack.enter_context(slot).established()
        assert door.slot(at(1, 9)) is None
        assert door.slot(at(2)) is not None, "others are not held up"
    assert door.slot(at(1, 9)) is not None
    assert door.refused == 1


def test_half_open_handshakes_are_few_in_one_network_and_in_all() -> None:
    door = entrance()
    assert all(door.slot(at(1, host)) for host in (1, 2))
    assert door.slot(at(1, 3)) is None
    assert all(door.slot(at(network)) for network in (2, 3, 4))
    assert door.slot(at(5)) is None, "five are shaking hands"


def test_our_own_network_is_not_counted_and_a_banned_one_stays_outside() -> None:
    door = entrance(HostLimits(max_handshakes=100))
    assert all(door.slot(f"/ip4/127.0.0.1/tcp/{port}") for port in range(50))
    assert door.slot("/ip4/198.51.100.4/tcp/1") is None


def test_nothing_is_kept_of_those_who_went() -> None:
    door = entrance()
    for network in range(200):
        slot = door.slot(at(network))
        assert slot is not None
        with slot:
            pass
    assert not door.inside
    assert not door.shaking


def test_room_for_requests_has_an_end_for_one_peer_and_for_all() -> None:
    room = Room(per_peer=10, total=25)
    assert room.take("a", 12), "the only request of a peer may be as large as its protocol allows"
    assert not room.take("a", 1)
    assert room.take("b", 8)
    assert not room.take("c", 8)
    room.give_back("a", 12)
    assert room.take("c", 8)
    room.give_back("b", 8)
    room.give_back("c", 8)
    assert room.held == 0


def test_time_is_paid_off_before_there_is_more() -> None:
    now = 100.0
    work = TimeBudget(Rate(per_s=1, burst=10), clock=lambda: now)
    work.spend("a", 25)
    assert work.level("a") == -15
    assert work.level("b") == 10
    now += 16
    assert work.level("a") == 1
    assert Budgets(HostLimits(), clock=lambda: now).work.level("x") > 0
