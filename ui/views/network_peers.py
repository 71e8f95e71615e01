"""Who is connected: on a picture by delay and way, and as a table."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Nothing
from openstall.ui.network import Banned, PeerLine, Peers, Reach, Way
from openstall.ui.people import about_name, called, warning
from openstall.ui.views.network_reach import ReachLine
from openstall.ui.views.network_section import Section
from openstall.ui.views.shut_out import ShutOutForm
from openstall.ui.widgets.layout import Panel, button, column, row
from openstall.ui.widgets.notices import Banner, EmptyState
from openstall.ui.widgets.peer_map import RINGS_MS, PeerMap, Spot, delay_text
from openstall.ui.widgets.people import Caution
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

_ROLES = {
    "host": ("group", "hosts the chain"),
    "arbiter": ("scales", "arbiter"),
    "partner": ("orders", "you traded"),
}
_WAYS = {"direct": "direct", "punched": "hole punched", "relayed": "over a relay"}
_OPENED = {"in": "opened by them", "out": "opened by you"}


def standing(line: PeerLine) -> tuple[str, theme.Tone, str]:
    """Icon, tone and words of what is to be known of a peer."""
    if line.marks:
        return "warning", "care", about_name(line.marks)
    for role in line.roles:
        if role in _ROLES:
            return _ROLES[role][0], "good", f"{_ROLES[role][1].capitalize()}."
    return "person", "accent", ""


def with_way(line: PeerLine, way: Way | None) -> PeerLine:
    """The line with what is known of the way to the peer."""
    if way is None:
        return line
    return msgspec.structs.replace(line, path=way.path, received=way.received, sent=way.sent)


def _second(line: PeerLine) -> str:
    said = warning(line.marks)
    return f"{said} · {words.short_id(line.peer_id)}" if said else words.short_id(line.peer_id)


def way_of(line: PeerLine) -> str:
    """How the connection goes."""
    return _WAYS.get(line.path, line.path)


def spot_of(line: PeerLine) -> Spot:
    """The peer on the picture."""
    icon, tone, said = standing(line)
    return Spot(
        peer_id=line.peer_id,
        name=words.one_line(line.name, 60) or words.short_id(line.peer_id),
        delay_ms=line.latency_ms,
        path=line.path,
        icon=icon,
        tone=tone,
        words=said,
    )


COLUMNS: list[Column[PeerLine]] = [
    Column(
        title="Name",
        text=lambda p: words.one_line(p.name, 60) or "no name given",
        second=_second,
        icon=lambda p: standing(p)[:2],
        stretch=True,
        tip=lambda p: f"{about_name(p.marks)} {p.peer_id} at {p.addr or 'an unknown address'}".strip(),
    ),
    Column(
        title="Way",
        text=way_of,
        width=96,
        tip=lambda p: f"{p.addr or 'unknown address'}, {_OPENED.get(p.direction, p.direction)}",
    ),
    Column(
        title="Received",
        text=lambda p: words.memory(p.received),
        second=lambda p: f"{words.memory(p.sent)} sent",
        sort=lambda p: p.received + p.sent,
        width=100,
        tip=lambda _p: "Bytes since this connection was opened.",
    ),
    Column(
        title="Delay",
        text=lambda p: delay_text(p.latency_ms) if p.latency_ms is not None else "—",
        sort=lambda p: p.latency_ms if p.latency_ms is not None else 1e9,
        right=True,
        width=68,
    ),
]


class PeersSection(Section):
    """Picture, table, and a field to connect to an address."""

    title: ClassVar[str] = "Peers"
    name: ClassVar[str] = "peers"
    listens: ClassVar[frozenset[str]] = frozenset({"peers"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self._ways: dict[str, Way] = {}
        self.map = PeerMap()
        picture = Panel("Around you")
        picture.body.addWidget(self.map, 1)
        rings = ", ".join(f"{one}" for one in RINGS_MS)
        picture.body.addWidget(
            Text(
                f"Nearer is quicker: the rings lie at {rings} ms. A whole line is a direct way, a dotted one "
                "leads over a relay, a dashed one through a hole in a router.",
                "small",
            )
        )
        empty = EmptyState(
            "network",
            "No peer is connected",
            "Peers on the same network are found by themselves. Others by an address below.",
        )
        self.table = RowTable("Peers", COLUMNS, lambda p: p.peer_id, empty, row_height=52)
        self.table.setMinimumHeight(220)
        self.table.chosen.connect(self._about)
        self.map.chosen.connect(self.table.choose)
        peers = Panel("Peers")
        self._caution = Caution()
        below = QWidget()
        below.setLayout(column(self._shut_out_row(), self._connect_row()))
        self.form = ShutOutForm(desk, banner, self.table, below)
        self.form.done.connect(self.load)
        self.form.closed.connect(self._look)
        peers.body.addWidget(self.table, 1)
        peers.body.addWidget(self._caution)
        peers.body.addWidget(self.form, 1, Qt.AlignmentFlag.AlignTop)
        peers.body.addWidget(below)
        self._look()
        both = row(picture, peers, spacing=2 * theme.GRID)
        both.setStretch(0, 1)
        both.setStretch(1, 1)
        self.reach = ReachLine()
        self.body.addWidget(self.reach)
        self.body.addLayout(both, 1)

    def _shut_out_row(self) -> QHBoxLayout:
        self.shut_out = button("S&hut out…", self._ask_shut_out, icon="cancel", kind="quiet")
        self._outside = button("", lambda: self.desk.go.emit("network:refused"), kind="quiet")
        self._outside.hide()
        return row(self.shut_out, 1, self._outside)

    def _look(self) -> None:
        self.shut_out.setEnabled(self.table.current() is not None)

    def _ask_shut_out(self) -> None:
        line = self.table.current()
        if line is not None:
            self.form.ask(line.peer_id, called(line.name, line.peer_id, line.marks), roles=line.roles)

    def _show_outside(self, found: Banned) -> None:
        self._outside.setText(f"{words.plural(len(found.items), 'is', 'are')} shut out")
        self._outside.setAccessibleName(f"{self._outside.text()}: show the list")
        self._outside.setVisible(bool(found.items))

    def _connect_row(self) -> QHBoxLayout:
        self.addr = QLineEdit()
        self.addr.setPlaceholderText("/ip4/203.0.113.7/tcp/4001/p2p/12D3…")
        self.addr.setAccessibleName("Address of a peer")
        self.addr.setMaxLength(300)
        self.addr.returnPressed.connect(self._connect)
        line = row(self.addr, button("C&onnect", self._connect, icon="network"))
        line.setStretch(0, 1)
        line.setAlignment(self.addr, Qt.AlignmentFlag.AlignVCenter)
        return line

    def load(self) -> None:
        self.desk.api.get("/v1/peers/reach", Reach, self._show_reach, owner=self, failed=self.fail)
        self.desk.api.get("/v1/peers/banned", Banned, self._show_outside, owner=self, failed=self.fail)

    def _show_reach(self, reach: Reach) -> None:
        self.reach.show_reach(reach)
        self._ways = {one.peer_id: one for one in reach.peers}
        self.desk.api.get("/v1/peers", Peers, self._show, owner=self, failed=self.fail)

    def _show(self, peers: Peers) -> None:
        lines = [with_way(one, self._ways.get(one.peer_id)) for one in peers.items]
        self.table.set_rows(lines)
        self.map.show_peers([spot_of(one) for one in lines])
        self._about(self.table.current())
        self.loaded.emit()

    def _about(self, line: object) -> None:
        if isinstance(line, PeerLine):
            self._caution.say(marks=line.marks, roles=line.roles)
            if line.peer_id != self.form.what:
                self.form.forget()  # it asked about somebody else
        else:
            self._caution.hide()
        self._look()

    def _connect(self) -> None:
        addr = self.addr.text().strip()
        if addr:
            self.banner.say("accent", "Connecting…", words.one_line(addr, 200))
            self.desk.api.post(
                "/v1/peers/connect", {"addr": addr}, Nothing, self._connected, owner=self, failed=self.fail
            )

    def _connected(self, _: Nothing) -> None:
        self.addr.clear()
        self.banner.say("good", "Connected.")
        self.load()
