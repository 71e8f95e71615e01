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
