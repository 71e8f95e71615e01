"""A contest on the page of its request: its models, its prizes, its clocks, and what one can do."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from openstall.ui import words
from openstall.ui.contests import Contest, contest_stage, own_words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.requests import RequestBody, RequestEntry
from openstall.ui.views.leaderboard import SHOWN, Leaderboard, who
from openstall.ui.views.practice import PracticePanel
from openstall.ui.views.prices import Bill
from openstall.ui.widgets.figures import When
from openstall.ui.widgets.layout import Facts, Panel, button, clear, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.prize_bar import PrizeBar, prize_words
from openstall.ui.widgets.text import Text

_STAGE_WORDS = {
    "none": "The requester's node has not opened it on the chain yet.",
    "entries": "Models stay encrypted: only the evaluators get their keys, when the time to enter is over.",
    "judging": "The evaluators measure every model on the sealed rows. Figures appear when they have agreed.",
    "closing": "The time is over. The nodes close it by themselves.",
    "void": "The evaluators gave no ranking in time: pool and deposits went back.",
}


class ContestParts:
    """Panels for the left and the right of the page of a request."""

    def __init__(self, desk: Desk, cid: str) -> None:
        self._desk, self._cid = desk, cid
        self._entry, self._contest = RequestEntry(), Contest()
        self._shown: tuple[RequestEntry, Contest, str] | None = None
        self.models = Panel("Models")
        self.practice = PracticePanel(desk, cid)
        self.do = Panel("What you can do")
        self.prizes = Panel("The prizes")
        self.clocks = Panel("Clocks")
        self.training = TrainingLine(desk, cid)
        self.left: tuple[QWidget, ...] = (self.training, self.models, self.practice)
        self.side: tuple[QWidget, ...] = (self.do, self.prizes, self.clocks)

    def show_contest(self, entry: RequestEntry, contest: Contest) -> str:
        """Show it as it is now; returns its stage."""
        body = entry.body
        stage, _at = contest_stage(contest, body.commit_by, body.reveal_by, int(time.time()))
        if (entry, contest, stage) == self._shown:
            return stage  # nothing is drawn anew under the reader's hands
        self._shown = (entry, contest, stage)
        self._entry, self._contest = entry, contest
        self._show_models(stage)
        self.practice.show_contest(contest, stage)
        self.training.show_request(body, may=contest.role in ("", "entrant") and stage == "entries")
        self._show_do(stage)
        self._show_prizes()
        self._show_clocks(stage)
        return stage

    def _show_models(self, stage: str) -> None:
        add = _anew(self.models, "Models" if not self._contest.judged else "The ranking")
        entries = self._contest.entries
        if self._contest.judged:
            add(Leaderboard(self._desk, self._contest))
            return
        add(Text(_STAGE_WORDS.get(stage, "The figures have not reached this computer yet."), "muted"))
        if not entries:
            add(Text("There is no model yet." if stage == "entries" else "There was no model."))
        for entry in entries[:SHOWN]:
            line = row(Picture("lock", "muted"), Text(who(entry), wrap=False), 1)
            line.addWidget(Text("encrypted", "muted", wrap=False))
            self.models.body.addLayout(line)
        if len(entries) > SHOWN:
            add(Text(f"{len(entries) - SHOWN:,} more.", "small"))

    def _show_do(self, stage: str) -> None:
        add = _anew(self.do, "What you can do")
        contest, own = self._contest, own_words(self._contest)
        if own:
            add(Text(own, "strong"))
        if contest.role == "requester":
            add(Text(_requester_words(stage, contest)))
            title = words.one_line(self._entry.body.title, 60) or "Model"
            for number, path in enumerate(contest.library_paths, 1):
                add(_ModelLine(f"{title}, {number}", path))
        elif contest.role == "evaluator":
            add(Text("Your node measures for this contest by itself. Leave it running."))
        elif not own and stage == "entries":
            add(Text("Can you build it? One model each; it cannot be exchanged once it is entered."))
            add(
                button(
                    "&Enter a model…",
                    lambda: self._desk.go.emit(f"enter:{self._cid}"),
                    icon="upload",
                    kind="primary",
                )
            )
        elif not own:
            add(Text("The time to enter is over."))
        if isinstance(contest.trouble, dict) and contest.trouble.get("message"):
            add(Text(f"It waits: {words.one_line(contest.trouble['message'], 300)}", "small"))

    def _show_prizes(self) -> None:
        add = _anew(self.prizes, "The prizes")
        contest, body = self._contest, self._entry.body
        bill = Bill(self._desk)
        bill.line("Prize pool, set aside", body.budget_micro)
        bill.line("Deposit for an entry", body.deposit_micro)
        add(bill)
        if body.weights_bps:
            bar = PrizeBar()
            bar.show_prizes(body.weights_bps, body.budget_micro)
            add(bar)
            if len(body.weights_bps) > 2:  # the parts of the last places are too small for their figures
                add(Text(prize_words(body.weights_bps, body.budget_micro), "small"))
        else:
            add(Text("Shared by all models that pass, in proportion to their figures."))
        paid = sum(entry.prize_micro or 0 for entry in contest.entries)
        left = body.budget_micro - paid
        if contest.judged and left:
            add(
                Text(
                    f"{words.amount(left, symbol=self._desk.symbol)} of it no model earned: it goes back.",
                    "small",
                )
            )
        add(
            Text(
                "A winner is paid against its key: it hands the model over and has the prize in one step. "
                "The deposit comes back to everybody who claims in time.",
                "small",
            )
        )

    def _show_clocks(self, stage: str) -> None:
        _anew(self.clocks, "Clocks")
        add_facts = self.clocks.body.addLayout
        facts, body = Facts(), self._entry.body
        for name, at, running in (
            ("Entries until", body.commit_by, stage == "entries"),
            ("Judging until", body.reveal_by, stage == "judging"),
            ("Claims until", self._contest.claim_by or 0, stage == "judged"),
        ):
            facts.add(
                name,
                When(at, "strong" if running else "muted") if at else Text("when it is decided", "muted"),
            )
        add_facts(facts)


class TrainingLine(Panel):
    """The training data of a contest, for whoever takes part; hidden where there is none."""

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__("Training data")
        self._desk, self._cid = desk, cid
        self._banner, self._progress = Banner(), ProgressRow(cancel=False)
        self._size = Text("", "muted")
        self._save = button("&Save…", self._choose, icon="download")
        self._save.setAccessibleName("Save the training data")
        line = row(self._size, self._save)
        line.setStretch(0, 1)
        self.body.addLayout(line)
        self.body.addWidget(self._progress)
        self.body.addWidget(self._banner)
        self.hide()

    def show_request(self, body: RequestBody, *, may: bool) -> None:
        """Say how much there is."""
        self.setVisible(may and body.training is not None)
        if body.training is not None:
            size = words.size(body.training.size)
            self._size.say(f"{size}, encrypted; the requester's node gives you its key.")

    def save(self, folder: str) -> None:
        """Have the node fetch it into a folder."""
        self._banner.hide()
        self._save.setEnabled(False)
        self._progress.begin("Fetching the training data")
        self._desk.operations.start(
            f"/v1/contests/{self._cid}/training",
            {"folder": folder},
            owner=self,
            done=self._saved,
            failed=self._failed,
            progress=self._progress.show_operation,
        )

    def _choose(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save the training data in")
        if folder:
            self.save(folder)

    def _saved(self, result: Any) -> None:
        self._ended()
        path = str(result.get("path", "")) if isinstance(result, dict) else ""
        self._banner.say("good", "The training data is saved.", path)

    def _failed(self, failure: Failure) -> None:
        self._ended()
        self._banner.fail(failure)

    def _ended(self) -> None:
        self._progress.hide()
        self._save.setEnabled(True)


class _ModelLine(QWidget):
    """A model that was won, and a button that shows where it lies."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__()
        folder = QUrl.fromLocalFile(path)
        show = button("Open the folder", lambda: QDesktopServices.openUrl(folder), icon="folder")
        show.setAccessibleName(f"Open the folder of {name}")
        show.setToolTip(words.tooltip(path))
        line = row(Picture("model", "accent"), Text(name), show)
        line.setStretch(1, 1)
        self.setLayout(line)


def _requester_words(stage: str, contest: Contest) -> str:
    if contest.library_paths:
        return "The models that were paid for lie on this computer:"
    if stage == "judged":
        return "Nothing now. Winners hand their models over by themselves; your node fetches them."
    if stage in ("void", "closed"):
        return "Nothing more. What no model earned is in your wallet again."
    return "Nothing now. Your node follows the contest, and fetches the models that win."


def _anew(panel: Panel, title: str) -> Any:
    clear(panel.body)
    panel.body.addWidget(Text(title, "heading"))
    return panel.body.addWidget
