"""Practice in a contest: the board that all can see, and a place to drop a model for a try."""

from __future__ import annotations

from typing import Any

from openstall.ui import theme, words
from openstall.ui.contests import SHARES, BoardLine, Contest
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Operation
from openstall.ui.views.leaderboard import SHOWN, named
from openstall.ui.widgets.figures import When
from openstall.ui.widgets.inputs import FileDrop
from openstall.ui.widgets.layout import Panel, clear, column, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text

_PRACTICE = (
    "Rounded down, and only what is clearly better than before is shown: so nobody learns the sealed rows by "
    "trying. The final figures may differ."
)


class PracticePanel(Panel):
    """The board of practice, and a place to drop a model for a try."""

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__("Practice")
        self._desk, self._cid = desk, cid
        self._busy = False
        self.banner = Banner()
        self._progress = ProgressRow(cancel=False)
        self.drop = FileDrop("a model to try", "ONNX models (*.onnx)", suffixes=(".onnx",))
        self.drop.picked.connect(self.practise)
        self._left = Text("", "strong")
        self._board = column(spacing=theme.GRID // 2)
        self.body.addWidget(Text(_PRACTICE, "muted"))
        self.body.addLayout(self._board)
        for widget in (self.banner, self._progress, self._left, self.drop):
            self.body.addWidget(widget)
        self.hide()

    def show_contest(self, contest: Contest, stage: str) -> None:
        """Show the board while it counts."""
        self.setVisible(stage == "entries" and contest.metric in SHARES)
        clear(self._board)
        if not contest.board:
            self._board.addWidget(Text("Nobody has tried yet, or the evaluator who keeps the board is away."))
        for line in contest.board[:SHOWN]:
            self._show_line(line)
        may = contest.role in ("", "entrant") and contest.tries_left > 0
        self._left.setVisible(may)
        self.drop.setVisible(may)
        self._left.say(
            f"Try a model on the sealed rows: {words.plural(contest.tries_left, 'try', 'tries')} left."
        )

    def practise(self, path: str) -> None:
        """Have an evaluator measure a model."""
        if self._busy:
            return
        self._working(True)
        self.banner.hide()
        self._progress.begin("Trying the model")
        self._desk.operations.start(
            f"/v1/contests/{self._cid}/practice",
            {"path": path},
            owner=self,
            done=self._tried,
            failed=self._failed,
            progress=self._moved,
        )

    def _show_line(self, line: BoardLine) -> None:
        me = line.developer.lower() == self._desk.status.identity.wallet.lower()
        name = "you" if me else named(line.name, line.developer, line.name_marks)
        shown = row(Picture("person", "muted"), Text(name, wrap=False), 1)
        shown.addWidget(Text(words.plural(line.tries_used, "try", "tries"), "muted", wrap=False))
        shown.addWidget(When(line.at, "muted"))
        shown.addWidget(Text(words.figure(line.figure) if line.figure else "waits", "strong", wrap=False))
        self._board.addLayout(shown)

    def _working(self, busy: bool) -> None:  # noqa: FBT001 - one word
        self._busy = busy
        self.drop.setEnabled(not busy)

    def _moved(self, operation: Operation) -> None:
        self._progress.show_operation(operation)

    def _tried(self, result: Any) -> None:
        self._progress.hide()
        self._working(False)
        figure = str(result.get("figure", "")) if isinstance(result, dict) else ""
        best = f"The board shows {words.figure(figure)} for you." if figure else "The board shows it soon."
        self.banner.say("good", "The model was measured.", best)
        self._desk.happened.emit("contest", {})

    def _failed(self, failure: Failure) -> None:
        self._progress.hide()
        self._working(False)
        self.banner.fail(failure)
