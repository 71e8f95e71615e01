"""What the desktop says of a promise: the worst case before anybody agrees, and who was to blame after."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.ui.capacity import Bond
from openstall.ui.main_window import MainWindow
from openstall.ui.service_levels import Complaint, Level, OrderService, Promise
from openstall.ui.trade import JobEnd, JobFigures, Order
from openstall.ui.views.service_levels import BindChoice, OrderPromise, PromisePanel
from openstall.ui.widgets.text import Text

LEVEL = Level(start_s=60, uptime_bps=9_900, penalty_micro=5_000_000)
BOND = Bond(bond_id="ab" * 32, state="posted", left_micro=100_000_000, oracles=["a", "b", "c"], quorum=2)


def said(widget: QWidget) -> str:
    """All words but those that were hidden on purpose."""
    by_hand = Qt.WidgetAttribute.WA_WState_ExplicitShowHide
    return "\n".join(
        text.text()
        for text in widget.findChildren(Text)
        if not (text.isHidden() and text.testAttribute(by_hand))
    )


def named(widget: QWidget, name: str) -> QPushButton:
    (found,) = [one for one in widget.findChildren(QPushButton) if one.accessibleName() == name]
    return found


def test_an_owner_sees_the_worst_case_before_promising(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    panel = PromisePanel(window.shell.page.desk)
    qtbot.addWidget(panel)
    panel.show_promise(Promise())
    assert "A promise needs a bond" in said(panel)
    panel.show_promise(Promise(bond=BOND, pledged_micro=8_000_000))
    assert "Nothing is promised yet." in said(panel)
    assert "At worst one order costs you 5.00 credits" in said(panel)
    assert "open orders hold 8.00" in said(panel)
    go = named(panel, "Promise this")
    assert go.isEnabled()
    panel._penalty.setText("100.5")
    assert not go.isEnabled(), "more than the bond holds"
    assert "Your bond holds 100.00 credits." in said(panel)
    panel._penalty.setText("5")
    panel._start.setValue(0)
    panel._uptime.setValue(0)
    assert not go.isEnabled(), "nothing would be promised"


def test_a_promise_is_sent_to_the_node_and_its_refusal_is_shown(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    """This node has no bond: what its own node says is what the owner reads."""
    assert window.shell is not None
    panel = PromisePanel(window.shell.page.desk)
    qtbot.addWidget(panel)
    panel.show_promise(Promise(bond=BOND))
    named(panel, "Promise this").click()
    qtbot.waitUntil(lambda: "Post a bond first." in said(panel), timeout=20_000)
    assert peer.get("/v1/service-levels")["level"] is None


def test_a_buyer_sees_the_worst_case_before_renting(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    choice = BindChoice(window.shell.page.desk)
    qtbot.addWidget(choice)
    choice.price(400_000)
    choice.show_promise(Promise(level=LEVEL))
    assert choice.isHidden(), "no bond stands behind it"
    assert choice.wanted() is None
    choice.show_promise(Promise(level=LEVEL, bond=BOND))
    assert not choice.isHidden()
    assert "starts within 1 min and works for 99\u00a0% of its time" in said(choice)
    assert "you get at most 4.00 credits" in said(choice), "ten times the cap"
    assert choice.wanted() == {}
    choice._bind.setChecked(False)
    assert choice.wanted() is None


def test_an_order_says_what_was_kept_who_was_to_blame_and_what_was_paid(
    qtbot: QtBot, window: MainWindow
) -> None:
    assert window.shell is not None
    panel = OrderPromise(window.shell.page.desk)
    qtbot.addWidget(panel)
    panel.show_order(Order(order_id="o", role="buyer"))
    assert panel.isHidden()
    running = OrderService(start_s=60, uptime_bps=9_900, worst_case_micro=5_000_000, watched_by=3)
    panel.show_order(Order(order_id="o", role="buyer", service=running))
    assert "You get at most 5.00 credits." in said(panel)
    assert "3 oracles" in said(panel)
    assert named(panel, "Complain to the oracles").isHidden()
    job = JobFigures(result=JobEnd(state="failed"))
    broken = OrderService(
        start_s=60,
        uptime_bps=9_900,
        worst_case_micro=5_000_000,
        broken_bps=8_000,
        found_micro=4_000_000,
        blamed="provider",
        words="The provider could not be reached any more.",
        complaint=Complaint(case="ab", state="paid", amount_micro=4_000_000),
    )
    panel.show_order(Order(order_id="o", role="buyer", service=broken, job=job))
    assert "No: 80\u00a0% of it was broken." in said(panel)
    assert "Provider. The provider could not be reached any more." in said(panel)
    assert "The bond has paid 4.00 credits." in said(panel)
    kept = OrderService(start_s=60, worst_case_micro=5_000_000, broken_bps=0, blamed="buyer", words="A bug.")
    panel.show_order(Order(order_id="o", role="buyer", service=kept, job=job))
    assert "Yes." in said(panel)
    assert not named(panel, "Complain to the oracles").isHidden()
    panel.show_order(Order(order_id="o", role="seller", service=kept, job=job))
    assert "Your bond pays at most 5.00 credits." in said(panel)
    assert named(panel, "Complain to the oracles").isHidden()
