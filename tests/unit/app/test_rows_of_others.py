"""The rows that a buyer gives to an evaluator: a file from a stranger."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from openstall.app.services.custom import assessing
from openstall.market.errors import InvalidOrder
from openstall.market.orders.documents import CustomTerms
from openstall.market.requests import rows

SEED = b"s" * 32
ROWS = [[str(at), f'a "quoted", cell\nof two lines {at}', "good"] for at in range(40)]
HEADER = "a,b,kind\n"


def terms(count: int = len(ROWS)) -> CustomTerms:
    commitment = rows.commit(ROWS, SEED)
    return CustomTerms(
        request="b" + "a" * 58,
        title="t",
        task="classification",
        features=["a", "b"],
        target="kind",
        classes=["bad", "good"],
        metric="accuracy",
        threshold="0.9",
        floors=[],
        rows=count,
        rows_root=commitment.root,
        box_key="00" * 32,
        evaluators=["0x" + "11" * 20],
        quorum=1,
        tries=1,
        price_micro=1,
        escrow="0x" + "22" * 20,
        arbiter="",
        arbiter_s=60,
        arbiter_fee_bps=0,
        deliver_by=1,
        evaluate_s=60,
        review_s=60,
    )


def table(cells: list[list[str]]) -> str:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
    return HEADER + "\n".join(lines) + "\n"


def check(path: Path, text: str | bytes, **wanted: int) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assessing.check_rows(path, SEED, terms(**wanted))


def test_the_rows_that_were_committed_to_pass(tmp_path: Path) -> None:
    check(tmp_path / "rows.csv", table(ROWS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        table(ROWS[:-1]),
        table([*ROWS, ROWS[0]]),
        table([[*row, ""] for row in ROWS]),
        table(ROWS).replace("a,b,kind", "b,a,kind"),
        table(ROWS) + '"never closed',
        table(ROWS) + '"a"b,c,d',
        HEADER + "x" * 200_000 + ",b,c\n",
        table(ROWS).encode() + b"\xff,\xfe,\x80\n",
        table(ROWS).encode("utf-16"),
    ],
)
def test_any_other_file_is_refused_in_one_way(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(InvalidOrder) as caught:
        check(tmp_path / "rows.csv", text)
    assert caught.value.code == "wrong_rows"


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "ab," * 8_000_000,  # one line without an end
        HEADER + '"\n",' * 6_000_000,  # one row of many lines
        HEADER + "ab,cd,good\n" * 2_000_000,  # far more rows than were committed to
        HEADER + "\n" * 20_000_000,
    ],
)
def test_no_file_takes_the_memory_of_an_evaluator(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidOrder):
            assessing.check_rows(path, SEED, terms())
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()
