"""The group and this node in it: its chain, its host, the invitation, and where others find this node."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import GroupState
from openstall.ui.network import Peers
from openstall.ui.views.network_section import Section
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

STATES = {
    "hosting": "you host its chain",
    "member": "you are a member",
    "public": "on a public chain",
    "none": "in no group",
}


class GroupSection(Section):
    """Group, chain, invitation, own addresses."""

    title: ClassVar[str] = "Group"
    name: ClassVar[str] = "group"
    listens: ClassVar[frozenset[str]] = frozenset({"status", "peers"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self.group = GroupState()
        self._facts = Facts()
        self._badge = Badge()
        self._words = Text("", "muted")
        group = Panel("The group")
        group.body.addLayout(row(self._badge, 1))
        group.body.addLayout(self._facts)
        group.body.addWidget(self._words)
        group.body.addStretch(1)
        both = row(
            column(group, self._self_panel(), 1, spacing=2 * theme.GRID),
            column(self._invitation_panel(), 1),
            spacing=2 * theme.GRID,
        )
        both.setStretch(0, 1)
        both.setStretch(1, 1)
        self.body.addLayout(both, 1)

    def _invitation_panel(self) -> Panel:
        panel = self._invite = Panel("Invite others")
        panel.body.addWidget(
            Text("Whoever has this invitation can join. Send it over a channel you trust.", "small")
        )
        self._invitation = QPlainTextEdit()
        self._invitation.setReadOnly(True)
        self._invitation.setFont(theme.fixed_font())
        self._invitation.setFixedHeight(132)
        self._invitation.setAccessibleName("Invitation to this group")
        self._invitation.setTabChangesFocus(True)
        panel.body.addWidget(self._invitation)
        panel.body.addLayout(row(1, button("&Copy the invitation", self._copy_invitation, icon="copy")))
        panel.hide()
        return panel

    def _self_panel(self) -> Panel:
        panel = Panel("This node")
        facts = Facts()
        self._id, self._addrs = CopyId("", what="peer id"), column(spacing=0)
        holder = QWidget()
        holder.setLayout(self._addrs)
        facts.add("Peer", self._id)
        facts.add("Addresses", holder)
        panel.body.addLayout(facts)
        return panel

    def load(self) -> None:
        self.desk.api.get("/v1/group", GroupState, self._show_group, owner=self, failed=self.fail)
        self.desk.api.get("/v1/peers", Peers, self._show_self, owner=self, failed=self.fail)

    def _show_self(self, peers: Peers) -> None:
        self._id.show_id(peers.self.peer_id)
        clear(self._addrs)
        for addr in peers.self.addrs[:8]:
            self._addrs.addWidget(CopyId(addr, what="address", head=40))
        if not peers.self.addrs:
            self._addrs.addWidget(Text("Not listening yet.", "muted"))
        self.loaded.emit()

    def _show_group(self, group: GroupState) -> None:
        if group == self.group:
            return
        self.group = group
        tone: theme.Tone = "care" if group.state == "none" else "accent"
        self._badge.mark(STATES.get(group.state, group.state), "group", tone)
        while self._facts.rowCount():
            self._facts.removeRow(0)
        for name, value in (
            ("Name", words.one_line(group.name, 80)),
            ("Chain", str(group.chain_id or "—")),
            ("Height", f"{group.height:,} blocks"),
        ):
            self._facts.add(name, value)
        if group.host_peer:
            self._facts.add("Host", CopyId(group.host_peer, what="peer id"))
        self._words.say(group.banner)
        self._words.setVisible(bool(group.banner))
        self._invitation.setPlainText(words.one_line(group.invitation, 4000))
        self._invite.setVisible(bool(group.invitation))

    def _copy_invitation(self) -> None:
        QGuiApplication.clipboard().setText(self.group.invitation)
        self.banner.say("good", "The invitation is on the clipboard.")
