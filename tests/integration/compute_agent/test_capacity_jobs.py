"""The challenge and its check on the real runtime, in real sandboxes, through the agent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import GIB, JobEvent, JobKind, JobResult, JobSpec, Limits

SIZE, SEGMENTS, ROUNDS = 128, 8, 5
WORK: dict[str, Any] = {"seed": "5e" * 32, "size": SIZE, "segments": SEGMENTS, "rounds": ROUNDS}
STATE = SIZE * SIZE


@pytest.fixture
async def run_job(nursery: trio.Nursery, tmp_path: Path) -> Any:
    client = AgentClient()
    await client.start(nursery)
    count = 0

    async def run(
        kind: JobKind, states: bytes | None = None, *, threads: int = 1, **params: Any
    ) -> tuple[JobResult, Path]:
        nonlocal count
        count += 1
        inputs, outputs = tmp_path / f"in{count}", tmp_path / f"out{count}"
        inputs.mkdir()
        if states is not None:
            (inputs / "states.bin").write_bytes(states)
        limits = Limits(wall_s=120, cpu_s=240, memory_bytes=2 * GIB, threads=threads)
        spec = JobSpec(job_id=f"job-{count}", kind=kind, params=params, limits=limits)

        async def on_event(_event: JobEvent) -> None:
            """Not looked at."""

        return await client.run(spec, inputs, outputs, on_event), outputs

    yield run
    await client.aclose()


async def prove(run_job: Any, **changes: Any) -> tuple[list[str], bytes]:
    result, outputs = await run_job("challenge", **{**WORK, **changes})
    assert result.state == "done", result.words
    proof = json.loads((outputs / "proof.json").read_text())
    return proof["digests"], (outputs / "states.bin").read_bytes()


async def verdict(run_job: Any, digests: list[str], states: bytes, opened: list[int], **changes: Any) -> Any:
    params = {**WORK, "digests": digests, "opened": opened, **changes}
    result, outputs = await run_job("verify_challenge", states, **params)
    assert result.state == "done", result.words
    return json.loads((outputs / "verdict.json").read_text())


def cut(states: bytes, opened: list[int]) -> bytes:
    return b"".join(states[at * STATE : (at + 1) * STATE] for at in opened)


async def test_an_honest_processor_passes_and_threads_make_no_difference(run_job: Any) -> None:
    digests, states = await prove(run_job)
    assert await prove(run_job, threads=2) == (digests, states)
    assert len(set(digests)) == SEGMENTS + 1
    opened = [6, 0, 3]
    assert await verdict(run_job, digests, cut(states, opened), opened) == {"right": True, "wrong": ""}


async def test_the_last_segment_and_the_first_state_are_tied_to_the_seed(run_job: Any) -> None:
    digests, states = await prove(run_job)
    last = SEGMENTS - 1
    assert (await verdict(run_job, digests, cut(states, [last]), [last]))["right"]
    other = await verdict(run_job, digests, cut(states, [last]), [last], seed="5f" * 32)
    assert other == {"right": False, "wrong": "start"}


def by_hand(seed: str, size: int, rounds: int) -> list[int]:
    """The state after so many rounds, as docs/protocol.md says it, without any library of numbers."""

    def drawn(name: bytes) -> list[int]:
        return [b % 127 - 63 for b in hashlib.shake_256(bytes.fromhex(seed) + name).digest(size * size)]

    def fold(v: int) -> int:
        return max(-63, ((v ^ v >> 7 ^ v >> 14) & 127) - 64)

    pool, state = [drawn(b"A%d" % at) for at in range(8)], drawn(b"X")
    for at in range(rounds):
        matrix, columns = pool[at % 8], [state[c::size] for c in range(size)]
        lines = [matrix[r * size : (r + 1) * size] for r in range(size)]
        state = [
            fold(sum(a * x for a, x in zip(line, column, strict=True)))
            for line in lines
            for column in columns
        ]
    return state


async def test_the_chain_is_the_one_of_the_protocol(run_job: Any) -> None:
    """Another fold, another order or a linear shortcut would give other bits."""
    digests, states = await prove(run_job, size=64, segments=4, rounds=3)
    for boundary, rounds in ((0, 0), (1, 3), (4, 12)):
        state = bytes(v % 256 for v in by_hand(WORK["seed"], 64, rounds))
        assert digests[boundary] == hashlib.sha256(state).hexdigest()
        if boundary < 4:
            assert states[boundary * 64 * 64 : (boundary + 1) * 64 * 64] == state


@pytest.mark.parametrize("tampered", ["state", "digest", "skipped", "missing"])
async def test_a_changed_proof_is_caught_where_it_is_opened(run_job: Any, tampered: str) -> None:
    digests, states = await prove(run_job)
    opened = [1, 4]
    shown = bytearray(cut(states, opened))
    if tampered == "state":
        shown[STATE + 17] ^= 1
    elif tampered == "digest":
        digests[5] = digests[5][:-1] + ("0" if digests[5][-1] != "0" else "1")
    elif tampered == "skipped":
        digests[5] = digests[4]  # the work of segment 4 was not done
    else:
        shown = shown[:-1]
    found = await verdict(run_job, digests, bytes(shown), opened)
    assert found == {"right": False, "wrong": "states" if tampered == "missing" else "segment 4"}


async def test_a_device_that_is_not_there_is_a_plain_answer(run_job: Any) -> None:
    result, _ = await run_job("challenge", **{**WORK, "device": "cuda:63"})
    assert (result.state, result.reason) == ("refused", "no_gpu")


async def test_a_proof_with_another_number_of_digests_runs_nothing(run_job: Any) -> None:
    params = {**WORK, "digests": ["00" * 32] * SEGMENTS, "opened": [1]}
    result, _ = await run_job("verify_challenge", b"", **params)
    assert (result.state, result.reason) == ("refused", "bad_job_params")


async def test_the_benchmark_measures_what_this_machine_does(run_job: Any) -> None:
    result, outputs = await run_job("benchmark", seconds=1)
    assert result.state == "done", result.words
    found = json.loads((outputs / "figures.json").read_text())
    names = [figure["name"] for figure in found["figures"]]
    assert names[:2] == ["chain_rounds", "matrix_fp32"]
    assert all(figure["value"] > 0 and figure["device"] == "cpu" for figure in found["figures"])
    assert found["runtime"].startswith("torch ")
