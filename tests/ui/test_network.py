"""The network page on real peers: the picture, the table, and the names that are marked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accessibility import nameless
from other_make import OtherMake, other_makes
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer, wait_for
from openstall.ui.main_window import MainWindow
from openstall.ui.views.network import SECTIONS, NetworkPage
from openstall.ui.views.network_peers import PeersSection
from openstall.ui.widgets.peer_map import PeerMap, Spot, distance, map_words, spot_words

from .conftest import WAIT_MS


def spots(*delays: float | None) -> list[Spot]:
    return [Spot(peer_id=f"peer {at}", name=f"Peer {at}", delay_ms=one) for at, one in enumerate(delays)]


def test_the_longer_the_way_the_further_out() -> None:
    places = [distance(one) for one in (0, 1, 5, 40, 300, 5_000, None)]
    assert places == sorted(places)
    assert places[0] > 0.2
    assert places[-1] == 1.0


def test_the_picture_can_be_read_out() -> None:
    assert map_words([]) == "Picture of the connected peers: nobody is connected."
    relayed = Spot(peer_id="p", name="Ann", delay_ms=None, path="relayed", words="Arbiter.")
    assert "2 peers, 1 of them over a relay" in map_words([relayed, *spots(3.0)])
    assert spot_words(spots(3_504.0)[0]) == "Peer 0: 3.5 s away, direct."
    assert spot_words(relayed) == "Ann: delay not measured yet, over a relay. Arbiter."


def test_a_click_on_a_peer_says_which(qtbot: QtBot) -> None:
    picture = PeerMap()
    qtbot.addWidget(picture)
    picture.resize(500, 400)
    picture.show_peers(spots(1, 20, 90, None))
    picture.show()
    picture.grab()
    place = picture.place_of("peer 2")
    assert place is not None
    with qtbot.waitSignal(picture.chosen) as clicked:
        qtbot.mouseClick(picture, Qt.MouseButton.LeftButton, pos=place.toPoint())
    assert clicked.args == ["peer 2"]
    picture.chosen.connect(lambda _: pytest.fail("nobody is there"))
    qtbot.mouseClick(picture, Qt.MouseButton.LeftButton, pos=QPoint(3, 3))


def test_hundreds_of_peers_are_painted(qtbot: QtBot) -> None:
    picture = PeerMap()
    qtbot.addWidget(picture)
    picture.resize(300, 240)
    picture.show_peers(spots(*[float(at) for at in range(300)]))
    assert not picture.grab().isNull()


def test_a_look_alike_is_seen_on_picture_and_table(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    with other_makes() as make:
        impostor = connected(make, peer, "Ada Вyron")  # noqa: RUF001 - its B is Cyrillic
        window.show_view("network")
        assert window.shell is not None
        page = window.shell.page
        assert isinstance(page, NetworkPage)
        section = page.section
        assert isinstance(section, PeersSection)
        qtbot.waitUntil(lambda: section.map.place_of(impostor.peer_id) is not None, timeout=WAIT_MS)
        section.map.grab()
        place = section.map.place_of(impostor.peer_id)
        assert place is not None
        qtbot.mouseClick(section.map, Qt.MouseButton.LeftButton, pos=place.toPoint())
        assert section.table.current_key() == impostor.peer_id
        assert "this name looks like your own" in section._caution.accessibleName()
        assert section._caution.isVisible()


def connected(make: Callable[..., OtherMake], peer: DemoPeer, name: str) -> OtherMake:
    other = make(name, network=peer.get("/v1/group")["network"])
    other.done("connect", addr=peer.get("/v1/peers")["self"]["addrs"][0])
    other.done("hello")
    wait_for(
        lambda: any(one["peer_id"] == other.peer_id for one in peer.get("/v1/peers")["items"]) or None,
        30,
        name,
    )
    return other


def test_every_part_loads_and_can_be_read_out(qtbot: QtBot, window: MainWindow) -> None:
    window.show_view("network")
    assert window.shell is not None
    page = window.shell.page
    assert isinstance(page, NetworkPage)
    for kind in SECTIONS:
        with qtbot.waitSignal(page.loaded, timeout=WAIT_MS):
            page.choose(kind.name)
            page.load()
        qtbot.waitUntil(lambda: not window.api.pending, timeout=WAIT_MS)
        assert page.section.title == page.tabs.tabText(page.tabs.currentIndex())
        assert nameless(page) == []
        assert page.banner.isHidden()
