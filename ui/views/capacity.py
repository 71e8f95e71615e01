"""What a machine can do: what its provider claims, what stands behind it, what this node has seen."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from PySide6.QtWidgets import QWidget

from openstall.ui import documents, theme, words
from openstall.ui.capacity import Bond, Capacity, Claim, ClaimedFigure, ProofCheck, Verdict
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

_NAMES = {
    "chain_rounds": "Chain of products",
    "matrix_fp32": "Matrix products, 32 bits",
    "matrix_bf16": "Matrix products, 16 bits (bf16)",
    "matrix_fp16": "Matrix products, 16 bits (fp16)",
    "matrix_int8": "Matrix products, 8 bits",
    "memory_copy": "Memory",
    "tokens": "Small language model",
    "pcie_to_device": "To the GPU",
    "pcie_from_device": "From the GPU",
    "disk_write": "Disk, writing",
    "disk_read": "Disk, reading",
    "network_down": "Line to a peer",
    "network_round_trip": "Answer of a peer",
}
_OUTCOMES = {
    "passed": "Your node challenged it: it passed.",
    "wrong": "Your node challenged it: its answer was wrong.",
    "too_slow": "Your node challenged it: it was too slow for what it claims.",
    "refused": "Your node challenged it: it refused.",
    "silent": "Your node wanted to challenge it, but could not reach it.",
}


class _CapacityPanel(Panel):
    """The claim of one peer; what may be done with it is added by those who show it."""

    def __init__(self, desk: Desk, heading: str) -> None:
        super().__init__(heading)
        self.desk = desk
        self._peer_id, self._operation = "", ""
        self._mark: Provenance | None = None
        self._marks = row(1)
        self._words = Text("", "muted")
        self._facts = Facts()
        self._bond = Text("", "small")
        self._progress = ProgressRow()
        self._progress.cancelled.connect(lambda: self.desk.operations.cancel(self._operation))
        self.body.addLayout(self._marks)
        self.body.addWidget(self._words)
        # A challenge says nothing of these: they stay what the provider says of itself.
        self._rest = QWidget()
        self._rest.setLayout(column(row(Provenance("claimed"), 1), self._facts, spacing=theme.GRID))
        self._rest.hide()
        self.body.addWidget(self._rest)
        self.body.addWidget(self._bond)
        self.body.addWidget(self._progress)

    def load(self, peer_id: str) -> None:
        """Ask the node what it knows of that peer."""
        self._peer_id = peer_id
        if peer_id:
            self.desk.api.get(
                f"/v1/capacity/{peer_id}", Capacity, self._show, owner=self, failed=self._failed
            )

    def _show(self, found: Capacity) -> None:
        while self._facts.rowCount():
            self._facts.removeRow(0)
        self._rest.setVisible(found.claim is not None and bool(found.claim.figures))
        if found.claim is None:
            self._clear_mark()
            self._words.say(self._nothing())
            self._bond.say("")
            return
        self._say_mark(found.verdicts[0] if found.verdicts else None)
        self._words.say(_measured(found.claim) + _line_words(found.verdicts))
        for figure in found.claim.figures:
            name = _NAMES.get(figure.name, words.one_line(figure.name, 40))
            place = "" if figure.device == "cpu" else f" ({words.one_line(figure.device, 12)})"
            self._facts.add(f"{name}{place}", _figure_words(figure))
        self._bond.say(_bond_words(found.bond, self.desk.symbol))

    def _nothing(self) -> str:
        return "This provider claims nothing about what its machine can do."

    def _clear_mark(self) -> None:
        if self._mark is not None:
            self._mark.setParent(None)
            self._mark.deleteLater()
            self._mark = None

    def _say_mark(self, last: Verdict | None) -> None:
        self._clear_mark()
        if last is not None and last.outcome == "passed":
            self._mark = Provenance("verified", "Your own node challenged this machine: it passed.")
        elif self._peer_id:
            self._mark = Provenance("claimed", _OUTCOMES.get(last.outcome, "") if last is not None else "")
        if self._mark is not None:
            self._marks.insertWidget(0, self._mark)

    def _begin(self, path: str, body: dict[str, Any], title: str) -> None:
        self._progress.begin(title)
        self.desk.operations.start(
            path, body, owner=self, done=self._done, failed=self._failed, progress=self._moved
        )

    def _moved(self, operation: documents.Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    @abstractmethod
    def _done(self, result: Any) -> None:
        """Show the result of the operation."""

    def _failed(self, failure: Failure) -> None:
        self._progress.hide()
        self._words.say(f"{failure.message} {failure.what_next}".strip())


class ClaimPanel(_CapacityPanel):
    """On the page of an offer: the claim, the bond, and a check of the proof on this node."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "What it can do")
        self._checked = Text("", "small")
        self._check = button(
            "Check the p&roof here",
            self._begin_check,
            icon="search",
            description="Computes a part of the provider's work again. It says nothing of the speed.",
        )
        self.body.addWidget(self._checked)
        self.body.addLayout(row(1, self._check))
        self._check.hide()

    def _show(self, found: Capacity) -> None:
        super()._show(found)
        self._check.setVisible(found.claim is not None)

    def _begin_check(self) -> None:
        self._check.setEnabled(False)
        self._begin("/v1/capacity/verify", {"peer_id": self._peer_id}, "Checking the proof")

    def _done(self, result: Any) -> None:
        self._progress.hide()
        self._check.setEnabled(True)
        found = documents.read(result, ProofCheck)
        wrong = ", ".join(words.one_line(device, 12) for device in sorted(found.wrong))
        self._checked.say(
            "Your node computed a part of the work again: the proof is right. It says nothing of the speed."
            if found.right
            else f"Your node computed a part of the work again: the proof is wrong ({wrong}). Do not rent it."
        )
        self._checked.tone("good" if found.right else "bad")

    def _failed(self, failure: Failure) -> None:
        super()._failed(failure)
        self._check.setEnabled(True)


class MeasurePanel(_CapacityPanel):
    """On Sell compute: measure this machine, and show what it claims."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "What this machine can do")
        self._measure = button(
            "&Measure this machine",
            self._begin_measure,
            icon="measured",
            description="Runs a benchmark of a minute or two, and publishes the figures with your offer.",
        )
        self.body.addLayout(row(1, self._measure))
        self.body.setSpacing(theme.GRID)

    def refresh(self) -> None:
        """Show the claim of this node, once it trades."""
        self._measure.setEnabled(self.desk.status.trading and self._progress.isHidden())
        if self.desk.status.trading:
            self.load(self.desk.status.identity.peer_id)

    def _nothing(self) -> str:
        return "Not measured yet. Buyers see only what your system says of itself."

    def _begin_measure(self) -> None:
        self._measure.setEnabled(False)
        self._begin("/v1/capacity/benchmark", {}, "Measuring this machine")

    def _done(self, result: Any) -> None:  # noqa: ARG002 - what was published is read again
        self._progress.hide()
        self.refresh()

    def _failed(self, failure: Failure) -> None:
        super()._failed(failure)
        self._measure.setEnabled(True)


def _figure_words(figure: ClaimedFigure) -> str:
    if figure.unit == "million operations/s":
        return _speed(figure.value)
    return f"{figure.value:,} {words.one_line(figure.unit, 40)}"


def _speed(millions: int) -> str:
    return f"{millions / 1000:,.1f} billion op/s"


def _measured(claim: Claim) -> str:
    works = ", ".join(
        f"{words.one_line(work.device, 12)}: {_speed(work.million_operations_per_s)}" for work in claim.works
    )
    return f"{works}\nMeasured by the provider on {words.day(claim.measured_at)}."


def _line_words(verdicts: list[Verdict]) -> str:
    """What this node saw of the line at its last challenge that could tell."""
    line = next((verdict.line for verdict in verdicts if verdict.line), {})
    seen = []
    if "kb_per_s" in line:
        seen.append(f"{line['kb_per_s']:,} kB/s")
    if "round_trip_ms" in line:
        seen.append(f"an answer in {line['round_trip_ms']:,} ms")
    return f"\nThe line, as your own node saw it: {', '.join(seen)}." if seen else ""


def _bond_words(bond: Bond | None, symbol: str) -> str:
    if bond is None:
        return "No bond stands behind this claim."
    leaving = ", and is being taken back" if bond.state == "leaving" else ""
    return (
        f"Bonded: {words.amount(bond.left_micro, symbol=symbol)}, seen on the chain{leaving}. "
        f"{bond.quorum} of {words.plural(len(bond.oracles), 'oracle')} can make it pay you; it leaves "
        f"{words.span(bond.unlock_delay_s)} after it was announced at the earliest."
    )
