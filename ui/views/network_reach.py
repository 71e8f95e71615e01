"""Whether others can reach this node, in words, with what to do; and what it gives as a relay."""

from __future__ import annotations

from typing import ClassVar

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.network import Reach, RelayUse
from openstall.ui.people import called
from openstall.ui.views.network_section import Section
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.inputs import Choice, Tick
from openstall.ui.widgets.layout import Facts, Panel, row
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

STATES: dict[str, theme.Mark] = {
    "checking": ("being found out", "clock", "muted"),
    "direct": ("reached directly", "done", "good"),
    "upnp": ("reached directly", "done", "good"),
    "relayed": ("reached over relays", "network", "care"),
    "outgoing": ("not reached from outside", "warning", "care"),
    "local": ("local network only", "network", "muted"),
    "cut_off": ("cut off", "error", "bad"),
}
MODES = (("When this node is reached directly", "auto"), ("Always", "on"), ("Never", "off"))


class ReachLine(Panel):
    """A badge, a sentence, and what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.badge, self._says, self._details = Badge(), Text("", "strong"), Text("", "small")
        head = row(self.badge, self._says)
        head.setStretch(1, 1)
        self.body.addLayout(head)
        self.body.addWidget(self._details)
        self.hide()

    def show_reach(self, reach: Reach) -> None:
        """Show how this node is reached."""
        self.badge.mark(*STATES.get(reach.state, (reach.state, "network", "muted")))
        self._says.say(words.one_line(reach.sentence, 300))
        self._details.say(reach_details(reach))
        self._details.setVisible(bool(self._details.text()))
        self.show()


def reach_details(reach: Reach) -> str:
    """What to do, and what is known of the way in."""
    said = [words.one_line(reach.what_next, 300)]
    if reach.proven:
        said.append(f"Reached at {words.one_line(reach.proven[0], 120)}.")
    if reach.relays:
        names = ", ".join(called(one.name, one.peer_id, one.marks) for one in reach.relays)
        said.append(f"Your relays: {names}.")
    if reach.ports_vary:
        said.append("Your router gives each connection another port, so that no hole can be punched.")
    return " ".join(one for one in said if one)


class WayInPanel(Panel):
    """Where others have reached this node, where they see it, and over whom else they come."""

    def __init__(self) -> None:
        super().__init__("The way to this node")
        self._line, self._facts = ReachLine(), Facts()
        self._line.setObjectName("")  # no frame inside a frame
        self._line.body.setContentsMargins(0, 0, 0, theme.GRID)
        self.body.addWidget(self._line)
        self.body.addLayout(self._facts)
        self.body.addStretch(1)

    def show_reach(self, reach: Reach) -> None:
        """Show all that is known of it."""
        self._line.show_reach(reach)
        while self._facts.rowCount():
            self._facts.removeRow(0)
        for address in reach.proven[:6]:
            self._facts.add("Reached at", CopyId(address, what="address", head=40))
        for one in reach.seen[:6]:
            self._facts.add("Seen as", f"{words.one_line(one.host, 60)} by {words.plural(one.peers, 'peer')}")
        for relay in reach.relays[:6]:
            until = f", until {words.moment(int(relay.expires))}" if relay.expires else ""
            self._facts.add("Over the relay", f"{called(relay.name, relay.peer_id, relay.marks)}{until}")
        if not self._facts.rowCount():
            said = "Nobody could reach it." if reach.asked_at else "Nobody outside has been asked yet."
            self._facts.add("From outside", said)


class RelayPanel(Panel):
    """Relaying for others: whether, how much of it is used, and the limits."""

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__("Relaying for others")
        self._desk, self._banner = desk, banner
        self.body.addWidget(
            Text(
                "Who sits behind a closed router is reached over a peer that relays. The relay sees who "
                "speaks with whom, and no word of it. Nothing is paid for it.",
                "small",
            )
        )
        self.mode = Choice(MODES)
        self.mode.setAccessibleName("Relay for others")
        self.mode.activated.connect(self._choose)
        self.upnp = Tick("Ask the router to open a &port (UPnP)")
        self.upnp.clicked.connect(self._set_upnp)
        form = Facts()
        form.add("Relay for others", self.mode)
        self.body.addLayout(form)
        self.body.addWidget(self.upnp)
        self.badge, self._use, self._limits = Badge(), Text(""), Text("", "small")
        self.body.addLayout(row(self.badge, 1))
        self.body.addWidget(self._use)
        self.body.addWidget(self._limits)
        self.body.addStretch(1)

    def show_reach(self, reach: Reach) -> None:
        """Show the settings and the use."""
        self.mode.setCurrentIndex(max(0, self.mode.findData(reach.settings.relay)))
        self.upnp.setChecked(reach.settings.upnp)
        serving = reach.relay.serving
        self.badge.mark(
            "relays now" if serving else "does not relay now",
            "network" if serving else "pending",
            "good" if serving else "muted",
        )
        self._use.say(use_words(reach.relay))
        self._limits.say(limit_words(reach.relay))

    def _choose(self, _index: int) -> None:
        self._desk.api.post(
            "/v1/peers/relay",
            {"mode": self.mode.currentData()},
            Reach,
            self.show_reach,
            owner=self,
            failed=self._banner.fail,
        )

    def _set_upnp(self) -> None:
        self._desk.api.post(
            "/v1/peers/upnp",
            {"on": self.upnp.isChecked()},
            Reach,
            self.show_reach,
            owner=self,
            failed=self._banner.fail,
        )


class ReachSection(Section):
    """How others reach this node, and what it does for those whom nobody reaches."""

    title: ClassVar[str] = "Reach"
    name: ClassVar[str] = "reach"
    listens: ClassVar[frozenset[str]] = frozenset({"peers", "status"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self.way_in, self.relay = WayInPanel(), RelayPanel(desk, banner)
        both = row(self.way_in, self.relay, spacing=2 * theme.GRID)
        both.setStretch(0, 1)
        both.setStretch(1, 1)
        self.body.addLayout(both)
        self.body.addStretch(1)

    def load(self) -> None:
        self.desk.api.get("/v1/peers/reach", Reach, self._show, owner=self, failed=self.fail)

    def _show(self, reach: Reach) -> None:
        self.way_in.show_reach(reach)
        self.relay.show_reach(reach)
        self.loaded.emit()


def use_words(use: RelayUse) -> str:
    """How much of the relay is used."""
    return (
        f"{words.plural(use.reservations, 'peer')} of {use.limits.reservations} with a place here, "
        f"{words.plural(use.circuits, 'connection')} of {use.limits.circuits} relayed now, "
        f"{words.memory(use.carried) if use.carried else 'nothing'} carried since the start."
    )


def limit_words(use: RelayUse) -> str:
    """What a relayed connection may take."""
    limits = use.limits
    return (
        f"A relayed connection lasts at most {words.span(limits.circuit_s)}, carries at most "
        f"{words.memory(limits.circuit_bytes)} at {words.memory(int(limits.circuit_bytes_per_s))} a second; "
        f"one peer has at most {words.memory(int(limits.peer_bytes_per_hour))} an hour."
    )
