"""Jobs that answer questions while they run: real models in real sandboxes, and jobs that break the rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from agent_lab import running_agent
from text_model import EXAMPLE, train_text_model

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.host import Facilities, own_interpreter, run_sandbox
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.sandbox.talk import Talk
from openstall.compute_agent.serving import MOST_OPEN, Answer, Question, as_question
from openstall.compute_agent.specs import (
    GIB,
    FirstOutput,
    JobEvent,
    JobResult,
    JobSpec,
    Limits,
)
from openstall.compute_agent.wire import WarmStock
from openstall.market.errors import SandboxError

GREEDY = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
tokens = list(sys.argv[2].encode())
for _ in range(int(sys.argv[3])):
    seen = tokens[-32:]
    fed = np.array([[0] * (32 - len(seen)) + seen], dtype=np.int64)
    tokens.append(int(session.run(None, {"tokens": fed})[0][0].argmax()))
sys.stdout.buffer.write(bytes(tokens)[len(sys.argv[2].encode()):])
"""


@dataclass(kw_only=True)
class Served:
    """A serve job that runs; `ask` returns all lines of an answer."""

    client: AgentClient
    ready: trio.Event = field(default_factory=trio.Event)
    answers: dict[int, list[Answer]] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)
    result: JobResult | None = None
    ended: trio.Event = field(default_factory=trio.Event)

    async def put(self, n: int, **question: Any) -> None:
        await self.client.ask("serve", as_question({"n": n, **question}))

    async def lines(self, n: int) -> list[Answer]:
        with trio.fail_after(60):
            while not (self.answers.get(n) and self.answers[n][-1].last):
                await self.changed.wait()
        return self.answers[n]

    async def ask(self, n: int, **question: Any) -> Answer:
        await self.put(n, **question)
        return (await self.lines(n))[-1]


@asynccontextmanager
async def serving(model: Path, folder: Path, **params: Any) -> AsyncIterator[Served]:
    (folder / "in").mkdir()
    shutil.copy(model, folder / "in" / "model.onnx")
    limits = Limits(wall_s=120, cpu_s=120, memory_bytes=2 * GIB)
    spec = JobSpec(job_id="serve", kind="serve", params=params, limits=limits)
    async with running_agent() as client, trio.open_nursery() as nursery:
        job = Served(client=client)

        async def on_event(event: JobEvent) -> None:
            if isinstance(event, FirstOutput):
                job.ready.set()
            if isinstance(event, Answer):
                job.answers.setdefault(event.n, []).append(event)
                job.changed.set()
                job.changed = trio.Event()

        async def run() -> None:
            job.result = await client.run(spec, folder / "in", folder / "out", on_event)
            job.ended.set()

        nursery.start_soon(run)
        with trio.fail_after(60):
            await job.ready.wait()
        yield job
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_text_model(tmp_path_factory.mktemp("text"))


TABLE = """
import sys
from onnx import TensorProto, helper
graph = helper.make_graph(
    [helper.make_node("Softmax", ["x"], ["y"], axis=1)],
    "t",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
)
model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
helper.set_model_props(model, {"features": '["a", "b"]', "classes": '["yes", "no"]'})
open(sys.argv[1], "wb").write(model.SerializeToString())
"""


def in_runtime(runtime: Runtime, code: str, *arguments: str) -> bytes:
    """Run a program with the workload runtime, outside any sandbox; what it prints."""
    environment = {"PYTHONPATH": str(runtime.site_packages)}
    command = [str(runtime.python), "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout


@pytest.fixture(scope="module")
def table_model(workload_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "model.onnx"
    in_runtime(workload_runtime, TABLE, str(path))
    return path


async def test_a_model_of_text_goes_on_as_it_was_trained(
    text_model: Path, tmp_path: Path, workload_runtime: Runtime
) -> None:
    async with serving(text_model, tmp_path) as job:
        answer = await job.ask(1, prompt="The provider", max_tokens=40, temperature=0)
        expected = in_runtime(workload_runtime, GREEDY, str(text_model), "The provider", "40")
        assert answer.text == expected.decode("utf-8", "replace")
        assert (answer.finish, answer.prompt_tokens, answer.tokens) == ("length", 12, 40)
        # in parts it is the same text
        await job.put(2, prompt="The provider", max_tokens=40, temperature=0, stream=True)
        lines = await job.lines(2)
        assert len(lines) > 10
        assert "".join(line.text for line in lines) == answer.text
        # a stop word ends it, and is not said, in parts or at once
        word = answer.text[10:13]
        stopped = answer.text[: answer.text.index(word)]
        for n, stream in ((3, False), (4, True)):
            await job.put(n, prompt="The provider", max_tokens=40, temperature=0, stop=[word], stream=stream)
            lines = await job.lines(n)
            assert "".join(line.text for line in lines) == stopped
            assert lines[-1].finish == "stop"
        # chance repeats by its seed
        by_chance = [await job.ask(n, prompt="A", max_tokens=30, seed=n // 2) for n in (10, 11, 12)]
        assert by_chance[0].text == by_chance[1].text != by_chance[2].text
        refused = await job.ask(20, rows=[[1.0]])
        assert refused.trouble is not None
        assert refused.trouble.code == "bad_question"
        assert (await job.ask(21, prompt="", max_tokens=3)).tokens == 3


async def test_a_model_of_tables_answers_rows_and_ends_when_nobody_asks(
    table_model: Path, tmp_path: Path
) -> None:
    async with serving(table_model, tmp_path, idle_s=3) as job:
        answer = await job.ask(1, rows=[[3.0, 1.0], [1.0, 2.0]])
        assert answer.predictions == ["yes", "no"]
        assert [round(sum(row), 4) for row in answer.scores] == [1.0, 1.0]
        by_name = await job.ask(4, rows=[{"b": 1.0, "a": 3.0}])
        assert by_name.predictions == ["yes"]
        for n, row in ((5, {"a": 3.0}), (6, [1e300, 0.0]), (7, [])):
            wrong = await job.ask(n, rows=[row])
            assert wrong.trouble is not None
        wrong = await job.ask(2, rows=[[1.0]])
        assert wrong.trouble is not None
        assert "takes 2" in wrong.trouble.words
        with trio.fail_after(60):
            await job.ended.wait()
        with pytest.raises(SandboxError, match="answers no questions"):
            await job.put(3, rows=[[1.0, 2.0]])
    assert job.result is not None
    assert job.result.state == "done"
    assert [item.name for item in job.result.outputs] == ["report.json"]


async def test_no_more_than_a_few_may_wait(text_model: Path, tmp_path: Path) -> None:
    async with serving(text_model, tmp_path) as job:
        for n in range(1, MOST_OPEN + 1):
            await job.put(n, prompt="x", max_tokens=400)
        with pytest.raises(SandboxError) as caught:
            await job.put(99, prompt="x")
        assert caught.value.code == "too_many_open"
        await job.lines(MOST_OPEN)
        await job.ask(100, prompt="x", max_tokens=1)


@pytest.fixture
def hostile(facilities: Facilities, tmp_path: Path) -> Callable[[str], Awaitable[Outcome]]:
    """Run a program of ours where the fixed workload would be, with one question open."""

    async def run(program: str) -> Outcome:
        for name in ("in", "out"):
            (tmp_path / name).mkdir()
        (tmp_path / "script.py").write_text(program)
        for path in (tmp_path, tmp_path / "in"):
            path.chmod(0o755)
        talk = Talk()
        talk.put(Question(n=7, prompt="p" * 60_000))

        async def emit(_event: JobEvent) -> None:
            """Nobody listens."""

        outcome, _outputs = await run_sandbox(
            facilities=facilities,
            plan=Plan(
                entry=Entry(script=tmp_path / "script.py"),
                runtime=own_interpreter(),
                inputs=tmp_path / "in",
                params=b"{}",
                limits=Limits(wall_s=20, cpu_s=20),
                mode=facilities.mode,
                asked=True,
            ),
            emit=emit,
            cancel=trio.Event(),
            allowed={},
            destination=tmp_path / "out",
            talk=talk,
        )
        return outcome

    return run


LINE = 'b\'{"type":"answer","n":7,"text":"\' + b"x" * %d + b\'"}\\n\''
HOSTILE = {
    "an answer to nobody": 'os.write(5, b\'{"type":"answer","n":8,"last":true}\\n\')',
    "twice": 'os.write(5, b\'{"type":"answer","n":7,"last":true}\\n\' * 2)',
    "nonsense": 'os.write(5, b"hello\\n")',
    "an unknown field": 'os.write(5, b\'{"type":"answer","n":7,"sure":1}\\n\')',
    "not a number": 'os.write(5, b\'{"type":"answer","n":7,"scores":[[NaN]]}\\n\')',
    "a line without end": 'while True: os.write(5, b"x" * 65536)',
    "a long line": f"data = {LINE % 200_000}\nwhile data: data = data[os.write(5, data):]",
    "more than one answer may hold": f"while True: os.write(5, {LINE % 3000})",
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_job_that_answers_against_the_rules_is_ended(
    hostile: Callable[[str], Awaitable[Outcome]], what: str
) -> None:
    outcome = await hostile(f"import os, time\n{HOSTILE[what]}\ntime.sleep(60)")
    assert outcome.fault is not None
    assert outcome.fault[0] == "bad_answer"
    assert outcome.limit == ""


async def test_a_job_that_never_reads_holds_nobody_up(
    hostile: Callable[[str], Awaitable[Outcome]],
) -> None:
    outcome = await hostile("import os; os.close(4); os.close(5)")
    assert (outcome.exit_code, outcome.fault) == (0, None)


async def test_the_two_pipes_are_all_that_it_gets(hostile: Callable[[str], Awaitable[Outcome]]) -> None:
    program = """
import os
found = []
for fd in range(256):
    try:
        os.fstat(fd)
        found.append(fd)
    except OSError:
        pass
assert os.read(0, 1) == b""
assert os.read(4, 30).startswith(b'{"n":7,"prompt":"ppp')
assert found == [0, 1, 2, 3, 4, 5], found
"""
    outcome = await hostile(program)
    assert outcome.exit_code == 0


async def test_a_warm_sandbox_answers_too_and_the_example_trains_in_one(
    text_model: Path, tmp_path: Path
) -> None:
    """The program of the guide as a script job; its model in a sandbox that waited for a serve job."""
    limits = Limits(wall_s=120, cpu_s=120, memory_bytes=2 * GIB)
    async with running_agent() as client, trio.open_nursery() as nursery:
        (tmp_path / "in").mkdir()
        shutil.copy(EXAMPLE, tmp_path / "in" / "script.py")
        shutil.copy(text_model.with_name("text.txt"), tmp_path / "in" / "text.txt")
        wanted = {"files": ["text.txt"], "arguments": ["/job/in", "3"], "outputs": ["model.onnx"]}
        script = JobSpec(job_id="script", kind="script", params=wanted, limits=limits)

        async def ignore(_event: JobEvent) -> None:
            """The result is enough."""

        result = await client.run(script, tmp_path / "in", tmp_path / "out", ignore)
        assert result.state == "done", result
        stock = WarmStock(kinds=("serve",), limits=limits, memory_bytes=2 * GIB, folder=str(tmp_path))
        assert await client.keep_warm(stock) == ("serve",)
        (tmp_path / "serve").mkdir()
        shutil.copy(tmp_path / "out" / "model.onnx", tmp_path / "serve" / "model.onnx")
        began: list[FirstOutput] = []
        answered = trio.Event()

        async def on_event(event: JobEvent) -> None:
            if isinstance(event, FirstOutput):
                began.append(event)
                await client.ask("serve", Question(n=1, prompt="x", max_tokens=2))
            if isinstance(event, Answer) and event.last:
                assert event.tokens == 2
                answered.set()

        serve = JobSpec(job_id="serve", kind="serve", params={}, limits=limits)
        nursery.start_soon(client.run, serve, tmp_path / "serve", tmp_path / "served", on_event)
        with trio.fail_after(60):
            await answered.wait()
        assert began
        nursery.cancel_scope.cancel()
