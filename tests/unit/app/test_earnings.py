"""Earnings as files: every figure of the rows is in them, and a PDF reader can find its way through."""

from __future__ import annotations

import csv
import io
import re

import pytest

from openstall.app.services.earnings import _energy, as_csv, as_pdf
from openstall.app.services.orders.job_provider import RunningJob
from openstall.app.services.text_pdf import text_pdf
from openstall.market.earnings import DayEarning
from openstall.market.house import HouseRules


def day(number: int, **changes: object) -> DayEarning:
    values = {
        "day": f"2026-11-{number:02}",
        "device": "processor",
        "jobs": 2,
        "worked_s": 90,
        "earned_micro": 1_234_500_000,
        "energy_j": 5_400,
        "energy_by": "stated",
        "cost_micro": 500,
        "net_micro": 1_234_499_500,
    }
    return DayEarning(**(values | changes))  # type: ignore[arg-type]


def test_csv_holds_each_day_and_no_figure_where_none_is_known() -> None:
    unknown = day(2, energy_by="unknown", net_micro=None)
    rows = list(csv.DictReader(io.StringIO(as_csv([day(1), unknown]).decode())))
    assert rows[0] == {
        "day": "2026-11-01",
        "device": "processor",
        "jobs": "2",
        "seconds": "90",
        "earned": "1234.50",
        "energy_wh": "1.5",
        "energy_is": "stated by you",
        "electricity": "0.0005",
        "net": "1234.4995",
    }
    assert (rows[1]["net"], rows[1]["electricity"], rows[1]["energy_is"]) == ("", "", "not known")
    assert b"the rig's word" in as_csv([day(1, energy_by="claimed")])


def objects(pdf: bytes) -> dict[int, bytes]:
    """The objects of a file, found as a reader finds them: by the table at its end."""
    start = int(re.findall(rb"startxref\n(\d+)\n%%EOF", pdf)[-1])
    head = re.match(rb"xref\n0 (\d+)\n", pdf[start:])
    assert head is not None
    lines = pdf[start + head.end() :].split(b"\n")[: int(head[1])]
    assert all(len(line) == 19 for line in lines)  # 20 bytes each with the line's end
    found = {}
    for number, line in enumerate(lines[1:], start=1):
        at = int(line[:10])
        match = re.match(rb"(\d+) 0 obj\n(.*?)\nendobj\n", pdf[at:], re.DOTALL)
        assert match is not None
        assert int(match[1]) == number
        found[number] = match[2]
    return found


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (28, 1), (29, 2), (90, 4)])
def test_pdf_has_its_pages_and_every_row(count: int, pages: int) -> None:
    days = [day(1 + number % 28, jobs=1000 + number) for number in range(count)]
    found = objects(as_pdf(days))
    assert b"/Count %d " % pages in found[2]
    text = b"".join(found.values())
    for one in days:
        assert b"(%d) Tj" % one.jobs in text
    for content in found.values():
        stream = re.match(rb"<< /Length (\d+) >>\nstream\n(.*)\nendstream", content, re.DOTALL)
        if stream:
            assert len(stream[2]) == int(stream[1])


def test_pdf_text_cannot_break_out_of_its_place() -> None:
    found = objects(text_pdf("a (b) \\ c", ["head"], [["endobj )( €"], ["漢"]], ""))
    text = b"".join(found.values())
    assert b"(a \\(b\\) \\\\ c) Tj" in text
    assert b"(endobj \\)\\( \x80) Tj" in text
    assert b"(?) Tj" in text


@pytest.mark.parametrize(
    ("measured_ms", "rules", "expected"),
    [
        (80_000, HouseRules(stated_w=50), (7_001, "measured")),
        (79_999, HouseRules(stated_w=50), (5_000, "stated")),
        (0, HouseRules(stated_w=50), (5_000, "stated")),
        (79_999, HouseRules(), (0, "unknown")),
    ],
)
def test_energy_is_measured_only_where_most_of_the_job_was(
    measured_ms: int, rules: HouseRules, expected: tuple[int, str]
) -> None:
    job = RunningJob(energy_mj=7_000_001, measured_ms=measured_ms)
    assert _energy(job, 100, rules) == expected
    of_rig = _energy(job, 100, rules, of_rig=True)
    assert of_rig == (expected[0], "unknown" if expected[1] == "unknown" else "claimed"), "its own word"
