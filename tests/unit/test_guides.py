"""The guides under docs/: their links lead somewhere, and what they quote stands on the desktop.

In the guides italics are kept for words of the desktop: a button, a label, a title.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GUIDES = ["buyer.md", "developer.md", "provider.md", "arbiter.md", "network.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
QUOTED = re.compile(r"(?<![*\w])\*([^*\n]+(?:\n[^*\n]+)?)\*(?![*\w])")


def anchor(heading: str) -> str:
    """The name that a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def words_of_the_desktop() -> str:
    """All texts in the desktop's code, without the marks of keyboard access."""
    texts = []
    for path in sorted((ROOT / "ui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)  # noqa: PERF401 - a comprehension of three levels reads worse
    return "\n".join(texts).replace("&", "")


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for link in LINK.findall((DOCS / page).read_text(encoding="utf-8")):
        name, _, part = link.partition("#")
        target = DOCS / name if name else DOCS / page
        if "://" in link:
            continue
        if not target.exists():
            broken.append(link)
        elif part:
            headings = HEADING.findall(target.read_text(encoding="utf-8"))
            broken += [] if part in map(anchor, headings) else [link]
    assert broken == []


@pytest.mark.parametrize("page", GUIDES)
def test_words_in_italics_stand_on_the_desktop(page: str) -> None:
    desktop = words_of_the_desktop()
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    quoted = [" ".join(found.split()).rstrip(".,") for found in QUOTED.findall(text)]
    parts = [part.strip() for one in quoted for part in re.split("[…→]", one) if part.strip()]
    assert parts
    assert [part for part in parts if part not in desktop] == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert sorted(page for page in pages if f"({page})" not in index) == []
