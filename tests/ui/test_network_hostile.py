"""Who is shut out, by the node or its owner, and who contradicted itself: a real window, real bad peers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from accessibility import nameless
from hands import push, said
from pytestqt.qtbot import QtBot
from threaded_peers import BadPeer

from openstall.app.demo.peers import DemoPeer
from openstall.ui.main_window import MainWindow
from openstall.ui.network import Ban, NameMark, Penalty
from openstall.ui.views.network import NetworkPage
from openstall.ui.views.network_peers import PeersSection
from openstall.ui.views.network_refused import DEEDS, RefusedSection, act_words, gathered, why_words
from openstall.ui.views.shut_out import ShutOutForm, time_left

from .conftest import WAIT_MS

FORGED = 12
"""Records with a false signature, 10 points each: 100 shut a peer out."""


@pytest.fixture
def group(peer: DemoPeer) -> Iterator[dict[str, Any]]:
    """The group of the window's node; whoever is shut out at the end is let in again."""
    yield peer.get("/v1/group")
    for ban in peer.get("/v1/peers/banned")["items"]:
        peer.post("/v1/peers/unban", what=ban["what"])


def address_of(peer: DemoPeer) -> str:
    return str(peer.get("/v1/peers")["self"]["addrs"][0])


def part(qtbot: QtBot, window: MainWindow, name: str) -> NetworkPage:
    window.show_view(f"network:{name}")
    assert window.shell is not None
    page = window.shell.page
    assert isinstance(page, NetworkPage)
    qtbot.waitUntil(lambda: page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    return page


def test_what_the_node_refused_is_told_and_can_be_forgiven(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer, group: dict[str, Any]
) -> None:
    forger, liar = BadPeer("Ada Byr0n", group["network"]), BadPeer("Honest Ben", group["network"])
    for number in range(FORGED):
        forger.gives_forged(forger.offer(group, number + 1, f"m{number}"))
    liar.gives(liar.offer(group, 1, "one"), liar.offer(group, 1, "other"))
    page = part(qtbot, window, RefusedSection.name)
    section = page.section
    assert isinstance(section, RefusedSection)
    assert "Nobody is shut out" in said(section)
    with forger.connected(address_of(peer)), liar.connected(address_of(peer)):
        # Nobody presses anything: the page hears of both.
        qtbot.waitUntil(lambda: section.bans.model.rowCount() == 1, timeout=WAIT_MS)
        qtbot.waitUntil(lambda: "Honest Ben" in said(section), timeout=WAIT_MS)
    assert "It signed two different records with the same number." in said(section)
    ban = section.bans.model.row(0)
    assert (ban.what, ban.by, ban.name) == (forger.peer_id, "node", "Ada Byr0n")
    cells = [section.bans.model.index(0, at).data() for at in range(2)]
    assert cells[0] == "Ada Byr0n (look-alike name)"
    assert cells[1].startswith(("9 min", "10 min"))
    assert why_words(ban) == "bad record: signed by somebody else"

    def told() -> bool:
        """The two answers of the node, on what peers did and on records, come one after the other."""
        rows = map(section.deeds.model.row, range(section.deeds.model.rowCount()))
        (deed,) = [one for one in rows if one.peer_id == forger.peer_id]
        assert deed.points == 10 * deed.times >= 100
        return f"{deed.times} signed by somebody else" in said(section)

    qtbot.waitUntil(told, timeout=WAIT_MS)
    assert nameless(page) == []
    section.bans.choose(forger.peer_id)
    push(qtbot, section, "Let it in again")
    qtbot.waitUntil(lambda: page.banner.message.startswith("It may connect again"), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: section.bans.model.rowCount() == 0, timeout=WAIT_MS)
    assert peer.get("/v1/peers/banned")["items"] == []


def test_a_peer_is_shut_out_on_the_page_of_peers_and_that_is_undone(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer, group: dict[str, Any]
) -> None:
    rude = BadPeer("Rude Rob", group["network"])
    with rude.connected(address_of(peer)):
        page = part(qtbot, window, PeersSection.name)
        section = page.section
        assert isinstance(section, PeersSection)
        qtbot.waitUntil(lambda: section.table.model.find(rude.peer_id) >= 0, timeout=WAIT_MS)
        section.table.choose(rude.peer_id)
        push(qtbot, section, "Shut out…")
        assert "Shut out Rude Rob?" in said(section)
        assert "You can undo it at any time" in said(section)
        assert section.form._no.hasFocus()
        push(qtbot, section, "Leave it")
        assert section.table.isVisible()
        push(qtbot, section, "Shut out…")
        section.form.time.setCurrentIndex(section.form.time.findText("a week"))
        section.form.reason.setText("shouts")
        assert nameless(page) == []
        push(qtbot, section, "Yes: shut it out")
        qtbot.waitUntil(lambda: page.banner.message == "Rude Rob is shut out for a week.", timeout=WAIT_MS)
        qtbot.waitUntil(lambda: section.table.model.find(rude.peer_id) < 0, timeout=WAIT_MS)
    (ban,) = peer.get("/v1/peers/banned")["items"]
    assert (ban["what"], ban["name"], ban["by"], ban["reason"]) == (rude.peer_id, "Rude Rob", "you", "shouts")
    assert ban["until"] - ban["since"] == 7 * 86_400
    push(qtbot, section, "1 is shut out: show the list")
    refused = page.section
    assert isinstance(refused, RefusedSection)
    qtbot.waitUntil(lambda: refused.bans.model.rowCount() == 1, timeout=WAIT_MS)
    assert refused.bans.model.index(0, 1).data().startswith(("6 d 23 h", "7 d"))
    push(qtbot, page.banner, "Let it in again")
    qtbot.waitUntil(lambda: refused.bans.model.rowCount() == 0, timeout=WAIT_MS)
    assert peer.get("/v1/peers/banned")["items"] == []


def test_a_network_is_shut_out_by_its_addresses_and_nonsense_is_refused(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer, group: dict[str, Any]
) -> None:
    page = part(qtbot, window, RefusedSection.name)
    section = page.section
    assert isinstance(section, RefusedSection)
    section.who.setText("0.0.0.0/0")
    push(qtbot, section, "Shut out…")
    push(qtbot, section, "Yes: shut it out")
    qtbot.waitUntil(lambda: "neither a peer id nor a network" in page.banner.message, timeout=WAIT_MS)
    assert section.form.isVisible()
    part(qtbot, window, "reach")
    part(qtbot, window, RefusedSection.name)
    assert section.form.isHidden(), "whoever turned away has not said yes"
    section.who.setText("192.0.2.0/24")
    push(qtbot, section, "Shut out…")
    assert "Shut out 192.0.2.0/24?" in said(section)
    section.form.time.setCurrentIndex(section.form.time.findText("good"))
    push(qtbot, section, "Yes: shut it out")
    qtbot.waitUntil(lambda: section.bans.model.rowCount() == 1, timeout=WAIT_MS)
    assert [section.bans.model.index(0, at).data() for at in range(2)] == ["192.0.2.0/24", "for good"]
    assert peer.get("/v1/peers/banned")["items"][0]["until"] is None
    assert section.who.text() == ""


def test_it_is_said_what_else_goes_with_a_peer(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    page = window.shell.page
    form = ShutOutForm(page.desk, page.banner)
    qtbot.addWidget(form)
    form.ask("12D3KooWx", "Hub", roles=["host", "partner"])
    assert "you can neither pay nor be paid" in said(form)
    form.ask("12D3KooWy", "Ben", roles=["partner"])
    assert "neither pay" not in said(form)


def test_what_was_done_often_is_told_once() -> None:
    marks = [NameMark(code="direction", words="It runs both ways.")]
    acts = [
        Penalty(peer_id="a", name="Ann", marks=marks, reason="bad_request", points=20, at=5),
        Penalty(peer_id="b", name="Ben", reason="bad_request", points=20, at=9),
        Penalty(peer_id="a", name="Ann", marks=marks, reason="bad_request", points=5, at=7),
        Penalty(peer_id="a", name="Ann", marks=marks, reason="too_many_requests", points=1, at=1),
    ]
    told = [(one.peer_id, one.times, one.points, one.at) for one in gathered(acts)]
    assert told == [("b", 1, 20, 9), ("a", 2, 25, 7), ("a", 1, 1, 1)]
    assert DEEDS[0].icon is not None
    assert DEEDS[0].icon(gathered(acts)[1]) == ("warning", "care")


def test_how_long_it_still_runs() -> None:
    assert [time_left(Ban(until=at), 1000) for at in (0, 1590, 1000 + 86_459, 900)] == [
        "for good", "9 min 50 s", "1 d", "over",
    ]  # fmt: skip
    assert act_words("some_new_rule") == "some new rule"
