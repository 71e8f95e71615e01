"""The warning beside an author that has been caught contradicting itself."""

from __future__ import annotations

from openstall.ui import words
from openstall.ui.trade import Contradicted
from openstall.ui.widgets.layout import Panel
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.text import Text

WORD = "contradicted itself"


class ContradictedPanel(Panel):
    """What was found, that it is proved, and what it means; hidden while nothing was found."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self.setAccessibleName(f"{who} {WORD}")
        self.body.addWidget(Badge(WORD, "warning", "bad"))
        self._found = Text("")
        self.body.addWidget(self._found)
        self.body.addWidget(
            Text(
                f"So different people may have been told different things by this {who}. Both records carry "
                "its signature: it is proved, and every peer can check it. It can also come from an old "
                "back-up, or from one key on two computers. Ask before you pay.",
                "small",
            )
        )
        self.hide()

    def tell(self, found: Contradicted | None) -> None:
        """Show what was found; nothing to hide the panel."""
        self._found.say(words.one_line(found.words, 200) if found is not None else "")
        self.setVisible(found is not None)
