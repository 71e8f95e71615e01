"""Every reason that our own code gives for the end of a job is in the one table, with somebody to blame."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openstall.market.mechanisms.blame import BAD_CHECKPOINT, CUT_OFF, REASONS, VANISHED, blame, moves_on

ROOT = Path(__file__).resolve().parents[3]
SOURCES = (
    "compute_agent/agent.py",
    "compute_agent/wire.py",
    "compute_agent/jobs.py",
    "compute_agent/collector.py",
    "compute_agent/sandbox/supervisor.py",
    "compute_agent/sandbox/gpu_memory.py",
    "compute_agent/sandbox/talk.py",
    "compute_agent/workloads/federate.py",
    "compute_agent/workloads/generate.py",
    "compute_agent/workloads/serve.py",
    "compute_agent/workloads/weights.py",
    "compute_agent/workloads/models.py",
    "compute_agent/workloads/script.py",
    "compute_agent/workloads/tables.py",
    "compute_agent/workloads/train.py",
    "app/services/orders/job_ends.py",
    "app/services/orders/job_meter.py",
    "app/services/orders/job_provider.py",
)
GIVEN = (
    r'reason="([a-z_]+)"',
    r'not_run\("([a-z_]+)"',
    r'InvalidOrder\("([a-z_]+)"',
    r'\b_?stop\("([a-z_]+)"\)',
    r'^    "([a-z_]+)": \("',
    r'fault = \("([a-z_]+)"',
    r'return "([a-z]+)"$',
    r'(?:Fault|_rejected)\(\s*"([a-z_]+)"',
)
NOT_OF_AN_END = {"channel_closed", "full", "lint", "none", "reduced", "script"}


def given_reasons() -> set[str]:
    text = "\n".join((ROOT / path).read_text("utf-8") for path in SOURCES)
    found = {match for pattern in GIVEN for match in re.findall(pattern, text, re.MULTILINE)}
    return found - NOT_OF_AN_END


def test_every_reason_of_our_own_is_in_the_table() -> None:
    found = given_reasons()
    assert {"agent_lost", "memory", "owner_stopped", "crashed", "inputs_late", "wall"} <= found
    assert found - set(REASONS) == set()


def test_the_table_has_words_for_each() -> None:
    for reason, found in REASONS.items():
        assert re.fullmatch(r"[a-z_]{2,40}", reason)
        assert found.words.endswith(".")


@pytest.mark.parametrize(
    ("state", "reason", "who"),
    [
        ("limit", "memory", "buyer"),
        ("failed", "host_memory", "provider"),
        ("failed", "killed", "nobody"),
        ("cancelled", "too_hot", "provider"),
        ("cancelled", "owner_stopped", "provider"),
        ("failed", "agent_lost", "provider"),
        ("failed", "sandbox_start_failed", "provider"),
        ("failed", "disk_full", "provider"),
        ("limit", "disk", "buyer"),
        ("failed", "inputs_late", "buyer"),
        ("failed", "too_late", "provider"),
        ("failed", "job_error", "buyer"),
        ("failed", "script_failed", "buyer"),
        ("refused", "bad_job_params", "buyer"),
        ("refused", "anything_else", "provider"),
        ("failed", "anything_else", "nobody"),
        ("done", "agent_lost", "nobody"),
        ("cancelled", "cancelled", "nobody"),
    ],
)
def test_who_is_to_blame(state: str, reason: str, who: str) -> None:
    assert blame(state, reason).who == who
    assert moves_on(state, reason) is (who == "provider")


def test_what_is_not_told_by_a_report() -> None:
    assert REASONS[VANISHED].who == "provider"
    assert REASONS[CUT_OFF].who == "nobody"
    assert blame("failed", BAD_CHECKPOINT).who == "nobody", "whoever wrote it is not known here"
    assert moves_on("failed", BAD_CHECKPOINT)
