"""What the command line prints."""

from __future__ import annotations

import json

import pytest

from openstall.app.cli.output import Output, cell, fields, plain, size_words, table
from openstall.market.errors import MoneyError


def test_units_follow_the_field_names() -> None:
    item = {
        "price_micro": 1_500_000,
        "size": 2048,
        "ok": True,
        "none": None,
        "words": ["a", "b"],
        "in": {"ok": False},
    }
    assert [cell(item, name) for name in ("price_micro", "size", "ok", "none", "words", "in.ok")] == [
        "1.50 cr",
        "2.0 KiB",
        "yes",
        "-",
        "a, b",
        "no",
    ]
    assert size_words(5) == "5 B"


def test_text_of_peers_cannot_reach_the_terminal() -> None:
    assert "\x1b" not in plain("red \x1b[31m\r\n")
    assert "\x1b" not in table([{"t": "\x1b]0;title\x07"}], [("T", "t")])
    assert "\x1b" not in fields({"name": "\x1b[2J", "list": [{"x": "\x1b"}]})


def test_table_aligns() -> None:
    text = table([{"a": "x", "b_micro": 1}, {"a": "long", "b_micro": 10**9}], [("A", "a"), ("B", "b_micro")])
    assert len({line.rindex(" cr") for line in text.splitlines()[1:]}) == 1


def test_an_id_is_never_cut_because_commands_take_it_whole() -> None:
    order = "f" * 64
    text = table([{"t": "w" * 90, "order_id": order}], [("TITLE", "t"), ("ORDER", "order_id")])
    assert order in text
    assert "w" * 90 not in text


def test_errors_go_to_standard_error_with_status_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Output(as_json=True).fail(MoneyError("broke", "No money.", "Earn."))
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert json.loads(said.err) == {"error": {"code": "broke", "message": "No money.", "what_next": "Earn."}}


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).rows({"items": [], "total": 0}, [("A", "a")], empty="nothing")
    assert json.loads(capsys.readouterr().out) == {"items": [], "total": 0}
    Output(as_json=False).rows({"items": [], "total": 0}, [("A", "a")], empty="nothing")
    assert capsys.readouterr().out == "nothing\n"
