from __future__ import annotations

from typing import Any

import pytest

from openstall.compute_agent import jobs
from openstall.compute_agent.specs import JobSpec
from openstall.market.errors import SandboxError

GOOD = {"files": ["rows.csv"], "arguments": ["--fast"], "outputs": ["result.csv"]}


def spec(**changes: Any) -> JobSpec:
    return JobSpec(job_id="j", kind="script", params=GOOD | changes)


def test_a_script_names_its_inputs_and_outputs() -> None:
    params = spec().parse_params()
    assert jobs.input_names(params) == {"script.py", "rows.csv"}
    assert set(jobs.allowed_outputs(spec())) == {"result.csv"}


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": []},
        {"outputs": ["../../x.csv"]},
        {"outputs": ["model.pkl"]},
        {"outputs": ["run.exe"]},
        {"outputs": ["page.html"]},
        {"outputs": ["a.csv", "a.csv"]},
        {"outputs": [f"{n}.csv" for n in range(17)]},
        {"files": ["script.py"]},
        {"files": ["a.csv", "a.csv"]},
        {"files": ["/etc/passwd"]},
        {"arguments": ["a\x00b"]},
        {"arguments": ["x" * 401]},
        {"environment": {"PATH": "/"}},
    ],
)
def test_what_no_script_may_ask_for(changes: dict[str, Any]) -> None:
    with pytest.raises(SandboxError) as caught:
        spec(**changes).parse_params()
    assert caught.value.code == "bad_job_params"


def test_foreign_code_needs_the_strongest_sandbox() -> None:
    jobs.require_tier("script", "full")
    jobs.require_tier("train", "reduced")
    for tier in ("none", "reduced"):
        with pytest.raises(SandboxError) as caught:
            jobs.require_tier("script", tier)  # type: ignore[arg-type]
        assert caught.value.code == "sandbox_too_weak"
