"""The network: who this node is, who is connected, the group, its chain, and the catalogue's size."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPlainTextEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import GroupState, Nothing, PeerLine, Peers
from openstall.ui.views.page import Page
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

STATES = {
    "hosting": "you host its chain",
    "member": "you are a member",
    "public": "on a public chain",
    "none": "in no group",
}

COLUMNS: list[Column[PeerLine]] = [
    Column(title="Name", text=lambda p: p.name or "no name given", stretch=True),
    Column(title="Peer", text=lambda p: words.short_id(p.peer_id), width=124, tip=lambda p: p.peer_id),
    Column(title="Address", text=lambda p: p.addr or "—", width=170, tip=lambda p: p.addr),
    Column(
        title="Opened by",
        text=lambda p: {"inbound": "them", "outbound": "you", "in": "them", "out": "you"}.get(
            p.direction, p.direction or "—"
        ),
        width=100,
    ),
    Column(
        title="Delay",
        text=lambda p: f"{p.latency_ms:.0f} ms" if p.latency_ms is not None else "—",
        sort=lambda p: p.latency_ms if p.latency_ms is not None else 1e9,
        right=True,
        width=68,
    ),
]


class NetworkPage(Page):
    """Peers, group, chain."""

    listens = frozenset({"peers", "status", "catalogue"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, "Network", "Your node speaks to other nodes directly; no server stands between."
        )
        self.group = GroupState()
        self._id = CopyId("", what="peer id")
        self._addrs = column(spacing=0)
        self._group_facts = Facts()
        self._invitation = QPlainTextEdit()
        self._invitation.setReadOnly(True)
        self._invitation.setFont(theme.fixed_font())
        self._invitation.setFixedHeight(88)
        self._invitation.setAccessibleName("Invitation to this group")
        self._invitation.setTabChangesFocus(True)
        self._copy = button("&Copy the invitation", self._copy_invitation, icon="copy")
        empty = EmptyState(
            "network",
            "No peer is connected",
            "Peers on the same network are found by themselves. Others by an address below.",
        )
        self.table = RowTable("Peers", COLUMNS, lambda p: f"{p.peer_id}{p.addr}", empty)
        self.table.setMinimumHeight(220)
        peers = Panel("Peers")
        peers.body.addWidget(self.table)
        peers.body.addLayout(self._connect_row())
        self._counts = Text("", "muted")
        peers.body.addWidget(self._counts)
        side = QWidget()
        side.setFixedWidth(360)
        side.setLayout(column(self._group_panel(), 1))
        self._self_panel = Panel("This node")
        facts = Facts()
        facts.add("Peer", self._id)
        holder = QWidget()
        holder.setLayout(self._addrs)
        facts.add("Addresses", holder)
        self._self_panel.body.addLayout(facts)
        left = column(peers, self._self_panel, 1, spacing=2 * theme.GRID)
        left.setStretch(0, 1)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)

    def _group_panel(self) -> Panel:
        panel = Panel("The group")
        self._badge = Badge()
        self._group_words = Text("", "muted")
        self._invite_words = Text(
            "Whoever has this invitation can join. Send it over a channel you trust.", "small"
        )
        panel.body.addLayout(row(self._badge, 1))
        panel.body.addLayout(self._group_facts)
        panel.body.addWidget(self._group_words)
        panel.body.addWidget(self._invite_words)
        panel.body.addWidget(self._invitation)
        panel.body.addLayout(row(1, self._copy))
        return panel

    def _connect_row(self) -> QHBoxLayout:
        self._addr = QLineEdit()
        self._addr.setPlaceholderText("/ip4/203.0.113.7/tcp/4001/p2p/12D3…")
        self._addr.setAccessibleName("Address of a peer")
        self._addr.setMaxLength(300)
        self._addr.returnPressed.connect(self._connect)
        line = row(self._addr, button("C&onnect", self._connect, icon="network"))
        line.setStretch(0, 1)
        return line

    def load(self) -> None:
        self.desk.api.get("/v1/group", GroupState, self._show_group, owner=self, failed=self.fail)
        self.desk.api.get("/v1/peers", Peers, self._show, owner=self, failed=self.fail)

    def _show(self, peers: Peers) -> None:
        self._id.show_id(peers.self.peer_id)
        clear(self._addrs)
        for addr in peers.self.addrs[:8]:
            self._addrs.addWidget(CopyId(addr, what="address", head=40))
        if not peers.self.addrs:
            self._addrs.addWidget(Text("Not listening yet.", "muted"))
        self.table.set_rows(peers.items)
        counts = peers.catalogue
        self._counts.say(
            "In the catalogue here: "
            + ", ".join(
                (
                    words.plural(counts.get("listing", 0), "model"),
                    words.plural(counts.get("offer", 0), "machine"),
                    words.plural(counts.get("peer", 0), "known peer"),
                )
            )
            + "."
        )
        self.mark_loaded()

    def _show_group(self, group: GroupState) -> None:
        if group == self.group:
            return
        self.group = group
        tone: theme.Tone = "care" if group.state == "none" else "accent"
        self._badge.mark(STATES.get(group.state, group.state), "group", tone)
        while self._group_facts.rowCount():
            self._group_facts.removeRow(0)
        for name, value in (
            ("Name", words.one_line(group.name, 80)),
            ("Chain", str(group.chain_id or "—")),
            ("Height", f"{group.height:,} blocks"),
        ):
            self._group_facts.add(name, value)
        if group.host_peer:
            self._group_facts.add("Host", CopyId(group.host_peer, what="peer id"))
        self._group_words.say(group.banner)
        self._group_words.setVisible(bool(group.banner))
        self._invitation.setPlainText(words.one_line(group.invitation, 4000))
        for widget in (self._invitation, self._copy, self._invite_words):
            widget.setVisible(bool(group.invitation))

    def _copy_invitation(self) -> None:
        QGuiApplication.clipboard().setText(self.group.invitation)
        self.banner.say("good", "The invitation is on the clipboard.")

    def _connect(self) -> None:
        addr = self._addr.text().strip()
        if addr:
            self.banner.say("accent", "Connecting…", words.one_line(addr, 200))
            self.desk.api.post(
                "/v1/peers/connect",
                {"addr": addr},
                Nothing,
                self._connected,
                owner=self,
                failed=self.banner.fail,
            )

    def _connected(self, _: Nothing) -> None:
        self._addr.clear()
        self.banner.say("good", "Connected.")
        self.load()
