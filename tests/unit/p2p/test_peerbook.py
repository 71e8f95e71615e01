from __future__ import annotations

from pathlib import Path

from openstall.p2p.peerbook import MAX_ADDRS, PeerBook


def test_addresses_survive_a_restart_and_the_one_that_worked_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    book = PeerBook(path, max_peers=10)
    book.learn("a", ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"], name="Anna")
    book.worked("a", "/ip4/192.0.2.2/tcp/1")
    book.learn("a", ["/ip4/192.0.2.3/tcp/1"])
    book.save()
    again = PeerBook(path, max_peers=10)
    assert again.addrs("a") == ["/ip4/192.0.2.2/tcp/1", "/ip4/192.0.2.3/tcp/1", "/ip4/192.0.2.1/tcp/1"]
    assert again.name("a") == "Anna"


def test_claims_cannot_push_out_the_address_that_works() -> None:
    book = PeerBook(None, max_peers=10)
    book.worked("a", "/ip4/192.0.2.1/tcp/1")
    for number in range(50):
        book.learn("a", [f"/ip4/198.51.100.{number}/tcp/1"])
    assert book.addrs("a")[0] == "/ip4/192.0.2.1/tcp/1"
    assert len(book.addrs("a")) == MAX_ADDRS


def test_the_book_has_an_end_and_keeps_who_answered() -> None:
    book = PeerBook(None, max_peers=5)
    book.worked("good", "/ip4/192.0.2.1/tcp/1")
    for number in range(50):
        book.learn(str(number), ["/ip4/198.51.100.1/tcp/1"])
    assert len(book.recent(100)) == 5
    assert book.recent(1)[0].peer_id == "good"


def test_a_peer_that_never_answers_is_forgotten() -> None:
    book = PeerBook(None, max_peers=5)
    book.learn("a", ["/ip4/192.0.2.1/tcp/1"])
    for _ in range(21):
        book.failed("a")
    assert book.addrs("a") == []


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(b'[{"peer_id": 7')
    book = PeerBook(path, max_peers=5)
    assert book.recent(5) == []
    assert path.with_suffix(".damaged").exists()


def far(number: int, host: int = 1) -> str:
    return f"/ip4/{11 + number}.{number}.0.{host}/tcp/1"


def test_a_flood_of_claims_from_one_network_fills_a_corner_of_the_book_only() -> None:
    book = PeerBook(None, max_peers=400)
    for number in range(20):
        book.learn(f"honest-{number}", [far(number)])
    for number in range(10_000):
        book.learn(f"false-{number}", [f"/ip4/198.51.{number % 256}.{number // 256}/tcp/1"])
    found = [one.peer_id for one in book.recent(1000)]
    assert sum(one.startswith("honest") for one in found) == 20
    assert sum(one.startswith("false") for one in found) <= 400 // 32


def test_even_with_many_networks_claims_never_push_out_a_peer_that_answered() -> None:
    book = PeerBook(None, max_peers=100)
    for number in range(40):
        book.learn(f"good-{number}", [far(number)])
        book.worked(f"good-{number}", far(number))
    for number in range(20_000):
        book.learn(f"false-{number}", [f"/ip4/{20 + number % 180}.{number // 180}.0.1/tcp/1"])
    found = [one.peer_id for one in book.recent(1000)]
    assert len(found) == 100
    assert all(f"good-{number}" in found[:40] for number in range(40))


def test_peers_of_many_networks_come_before_many_of_one() -> None:
    book = PeerBook(None, max_peers=100)
    for number in range(20):
        book.worked(f"crowd-{number}", far(1, number))
    for number in (2, 3, 4):
        book.learn(f"other-{number}", [far(number)])
    first = [one.peer_id for one in book.recent(4)]
    assert sum(one.startswith("crowd") for one in first) == 1


def test_anchors_survive_a_restart_and_come_first(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    book = PeerBook(path, max_peers=100)
    for number in range(10):
        book.worked(f"a-{number}", far(number))
        book.worked(f"b-{number}", far(number, 2))
    book.keep_anchors([f"{side}-{number}" for number in range(9, 0, -1) for side in "ab"])
    book.keep_anchors([])
    book.save()
    again = PeerBook(path, max_peers=100)
    assert sorted(again.anchors()) == ["a-6", "a-7", "a-8", "a-9"], "of each network one"
    assert {one.peer_id for one in again.recent(4)} == set(again.anchors())


def test_hearsay_of_many_networks_does_not_push_out_that_of_others() -> None:
    """An attacker of three hundred networks fills the book: of each of the honest ones an address stays."""
    book = PeerBook(None, max_peers=1000)
    for number in range(100):
        book.learn(f"honest-{number}", [far(number)])
    for number in range(20_000):
        network = number % 300
        book.learn(
            f"false-{number}", [f"/ip4/{150 + network // 250}.{network % 250}.0.{number // 300}/tcp/1"]
        )
    found = [one.peer_id for one in book.recent(1000)]
    assert sum(one.startswith("honest") for one in found) == 100
    assert sum(one.startswith("honest") for one in found[:100]) >= 10, "and they have their turn"
