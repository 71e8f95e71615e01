"""What the desktop says of a machine: claimed until this node has seen it, and never more than it knows."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from openstall.ui.capacity import Bond, Capacity, Claim, ClaimedFigure, ClaimedWork, Verdict
from openstall.ui.main_window import MainWindow
from openstall.ui.views.capacity import ClaimPanel
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.text import Text

CLAIM = Claim(
    measured_at=1_790_000_000,
    runtime="torch",
    figures=[ClaimedFigure(name="matrix_fp32", device="cpu", value=61_000, unit="million operations/s")],
    works=[ClaimedWork(device="cpu", threads=2, ms=5_000, million_operations_per_s=60_000)],
)
BOND = Bond(bond_id="ab" * 32, state="posted", left_micro=300_000_000, oracles=["a", "b", "c"], quorum=2)


def shown(qtbot: QtBot, window: MainWindow, found: Capacity) -> tuple[list[str], str]:
    """The marks of a panel, and all its words."""
    assert window.shell is not None
    panel = ClaimPanel(window.shell.page.desk)
    qtbot.addWidget(panel)
    panel._peer_id = "peer"
    panel._show(found)
    marks = sorted((mark.accessibleName() for mark in panel.findChildren(Provenance)), reverse=True)
    return marks, "\n".join(text.text() for text in panel.findChildren(Text))


def test_a_claim_is_claimed_until_this_node_has_challenged_it(qtbot: QtBot, window: MainWindow) -> None:
    marks, said = shown(qtbot, window, Capacity(cid="b", claim=CLAIM))
    assert marks == ["claimed", "claimed"]
    assert "No bond stands behind this claim." in said
    assert "61.0 billion op/s" in said
    passed = Verdict(outcome="passed", elapsed_ms=5, allowed_ms=9, at=1)
    marks, said = shown(qtbot, window, Capacity(cid="b", claim=CLAIM, bond=BOND, verdicts=[passed]))
    assert marks == ["verified", "claimed"]
    assert "Bonded: 300.00 credits, seen on the chain." in said
    assert "2 of 3 oracles" in said


def test_the_last_challenge_counts_and_a_failed_one_verifies_nothing(
    qtbot: QtBot, window: MainWindow
) -> None:
    verdicts = [Verdict(outcome="too_slow"), Verdict(outcome="passed")]
    marks, _ = shown(qtbot, window, Capacity(cid="b", claim=CLAIM, verdicts=verdicts))
    assert marks == ["claimed", "claimed"]


def test_a_provider_that_claims_nothing_is_said_to_claim_nothing(qtbot: QtBot, window: MainWindow) -> None:
    _, said = shown(qtbot, window, Capacity())
    assert "claims nothing" in said
