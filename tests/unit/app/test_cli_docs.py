"""docs/cli.md knows every noun and verb of the command line, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from openstall.app.cli.main import NOUNS, main

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"
ROW = re.compile(r"^\| `([a-z]+(?: [a-z-]+)?)` \|", re.MULTILINE)


def commands() -> set[str]:
    """All commands as they are typed, from the tree of click itself."""
    found = set()
    context = click.Context(main)
    for noun in NOUNS:
        command = main.get_command(context, noun)
        assert command is not None, noun
        found |= (
            {f"{noun} {verb}" for verb in command.commands} if isinstance(command, click.Group) else {noun}
        )
    return found


def test_every_command_has_its_line() -> None:
    assert sorted(ROW.findall(PAGE.read_text(encoding="utf-8"))) == sorted(commands())


def test_every_example_is_a_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    typed = re.findall(
        r"^\$ openstall(?: --json)?(?: --home [A-D])? ([a-z]+)(?: ([a-z-]+))?", text, re.MULTILINE
    )
    known = commands()
    assert len(typed) > 25
    assert [words for words in typed if " ".join(words).strip() not in known] == []


def test_examples_of_output_are_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 20
    for block in blocks:
        try:
            json.loads(block)
        except ValueError:
            for line in block.strip().splitlines():
                json.loads(line)
