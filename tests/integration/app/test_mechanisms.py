"""Which mechanism fits, asked at a real node by the command line and by the local API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import NodeProcess, nodes_in, refused


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with nodes_in(tmp_path_factory.mktemp("asked")) as make:
        yield make("shop")


def typed(node: NodeProcess, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openstall.app.cli.main", "--home", str(node.home), *words]
    return subprocess.run(
        command,
        env=os.environ | {"COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_says_what_fits_why_and_what_runs(node: NodeProcess) -> None:
    cheapest = typed(node, "request", "mechanisms", "--goal", "cheapest", "--bidders", "3")
    assert cheapest.returncode == 0, cheapest.stderr
    assert "Sealed bids, paid the second price" in cheapest.stdout.splitlines()[0]
    assert "2/(n+1)             50.00 %  of your budget" in cheapest.stdout
    assert "This version runs it on chain" in cheapest.stdout
    many = typed(node, "request", "mechanisms", "--goal", "many", "--bidders", "16").stdout
    assert many.startswith("Contest with prizes for the best\n")
    assert "request create --mechanism contest --weights 2500,2500,2500,2500." in many
    assert "216.85 %" in many
    assert many.count("(runs in this version)") == 2
    found = json.loads(typed(node, "--json", "request", "mechanisms", "--goal", "best").stdout)
    assert (found["best"]["mechanism"], found["weights_bps"], found["bidders"]) == (
        "contest_by_rank",
        [10_000],
        5,
    )


def test_what_makes_no_sense_is_refused(node: NodeProcess) -> None:
    for goal, bidders in (("fairest", "3"), ("best", "0"), ("best", "101"), ("best", "x")):
        answer = node.api.get("/v1/requests/mechanisms", params={"goal": goal, "bidders": bidders})
        assert refused(answer, 422) == "invalid_request"
    assert typed(node, "request", "mechanisms", "--goal", "best", "--bidders", "101").returncode == 2
