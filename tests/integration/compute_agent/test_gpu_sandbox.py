"""What a job with a graphics card gets beyond others, in a real sandbox; the card itself is not needed here.

Where there is an NVIDIA card the doctor runs two jobs on it (`sandbox/gpu_check.py`); see docs/sandbox.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from agent_lab import running_agent, table

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.sandbox.gpu import Grant, find_grant
from openstall.compute_agent.sandbox.host import Facilities, own_interpreter
from openstall.compute_agent.sandbox.launcher import launch
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.sandbox.settling import settle
from openstall.compute_agent.sandbox.supervisor import supervise
from openstall.compute_agent.specs import GIB, MIB, JobEvent, JobResult, JobSpec, Limits
from openstall.market.errors import SandboxError

# two devices that every machine has stand in for a card: a node that is let in, and one that is not
GRANT = Grant(ids=("GPU-none",), nodes=("/dev/full",), facts=("/proc/devices",))
LIMITS = Limits(
    wall_s=20, cpu_s=20, memory_bytes=256 * MIB, processes=16, disk_bytes=MIB, log_bytes=16384, gpus=1
)
PROBE = """
import ctypes, errno, fcntl, os, threading
libc = ctypes.CDLL(None, use_errno=True)

def tell(name, attempt):
    try:
        print(name, attempt(), flush=True)
    except OSError as error:
        print(name, errno.errorcode[error.errno], flush=True)

class Attributes(ctypes.Structure):
    _fields_ = [("raw", ctypes.c_char * 128)]

found, low, size = Attributes(), ctypes.c_void_p(), ctypes.c_size_t()
libc.pthread_getattr_np(ctypes.c_ulong(threading.get_ident()), ctypes.byref(found))
libc.pthread_attr_getstack(ctypes.byref(found), ctypes.byref(low), ctypes.byref(size))
here = 0x7FFC00000000
print("stack", low.value <= here < low.value + size.value, flush=True)
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
print("thread-name", libc.pthread_setname_np(ctypes.c_ulong(thread.ident), b"cuda"), flush=True)
done.set()

def ask(path, number):
    fd = os.open(path, os.O_RDWR)
    try:
        return fcntl.ioctl(fd, number, b"0" * 64)
    finally:
        os.close(fd)

def call(number, *arguments):
    answer = libc.syscall(number, *arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "")
    return "allowed"

tell("granted-node", lambda: os.close(os.open("/dev/full", os.O_RDWR)))
tell("driver-call", lambda: ask("/dev/full", 0xC020462A))
tell("memory-call", lambda: ask("/dev/full", 0x25))
tell("terminal-call", lambda: ask("/dev/full", 0x5412))
tell("other-node", lambda: os.open("/dev/tty", os.O_RDWR))
tell("devices", lambda: "Character" in open("/proc/devices").read())
for path in ("/proc/self/mountinfo", "/proc/meminfo", "/proc/self/task/1/mountinfo", "/proc/1/status"):
    tell(path, lambda: open(path).read())
tell("listen", lambda: call(41, 1, 5, 0))
tell("stream", lambda: call(41, 1, 1, 0))
tell("internet", lambda: call(41, 2, 1, 0))
tell("connect", lambda: call(42, 0, b"", 0))
tell("memfd", lambda: call(319, b"x", 0))
"""


@pytest.fixture
def plan(facilities: Facilities, tmp_path: Path) -> Plan:
    (tmp_path / "in").mkdir()
    (tmp_path / "probe.py").write_text(PROBE)
    tmp_path.chmod(0o755)
    return Plan(
        entry=Entry(script=tmp_path / "probe.py"),
        runtime=own_interpreter(),
        inputs=tmp_path / "in",
        params=b"{}",
        limits=LIMITS,
        mode=facilities.mode,
        gpu=GRANT,
    )


async def test_a_job_with_a_card_gets_its_node_the_drivers_calls_and_nothing_of_the_hosts_proc(
    facilities: Facilities, plan: Plan
) -> None:
    running = launch(plan, bwrap=facilities.bwrap, seccomp=facilities.filter_for(plan))
    text = b""
    try:
        await settle(running, plan)
        running.send_params(plan)
        async with trio.lowlevel.FdStream(os.dup(running.log_fd)) as log:
            with trio.fail_after(30):
                async for data in log:
                    text += data
    finally:
        running.kill()
        running.process.wait()
        for fd in (running.log_fd, running.events_fd):
            os.close(fd)
        running.close()
    told = dict(line.split(" ", 1) for line in text.decode().splitlines())
    assert told == {
        "stack": "True",
        "thread-name": "0",
        "granted-node": "None",
        "driver-call": "ENOTTY",  # the filter let it through, and this device knows no such call
        "memory-call": "ENOTTY",
        "terminal-call": "EPERM",
        "other-node": "EACCES",
        "devices": "True",
        "/proc/self/mountinfo": "ENOENT",
        "/proc/meminfo": "ENOENT",
        "/proc/self/task/1/mountinfo": "ENOENT",
        "/proc/1/status": "ENOENT",
        "listen": "allowed",
        "stream": "EPERM",
        "internet": "EPERM",
        "connect": "EPERM",
        "memfd": "EPERM",
    }


async def test_a_job_whose_card_does_not_answer_is_stopped(facilities: Facilities, plan: Plan) -> None:
    async def ignore(event: JobEvent) -> None:
        pass

    plan.entry.script.write_text("import time\nwhile True: time.sleep(1)\n")  # type: ignore[union-attr]
    running = launch(plan, bwrap=facilities.bwrap, seccomp=facilities.filter_for(plan))
    with trio.fail_after(30):
        outcome = await supervise(running=running, plan=plan, emit=ignore, cancel=trio.Event())
    running.close()
    assert outcome.limit == "gpu_lost"


def test_no_card_no_grant() -> None:
    with pytest.raises(SandboxError) as caught:
        find_grant(["GPU-00000000-0000-0000-0000-000000000000"])
    assert caught.value.code == "no_gpu"


async def test_an_agent_without_a_proved_card_refuses_a_job_that_rents_one(tmp_path: Path) -> None:
    async def ignore(event: JobEvent) -> None:
        pass

    async def run(client: AgentClient, gpus: tuple[str, ...]) -> JobResult:
        folder = table(tmp_path / str(len(gpus)))
        limits = Limits(wall_s=60, cpu_s=60, memory_bytes=2 * GIB, gpus=1, gpu_memory_bytes=GIB)
        params = {"task": "classification", "label": "y", "epochs": 1}
        spec = JobSpec(job_id=f"job-{len(gpus)}", kind="train", params=params, limits=limits)
        return await client.run(spec, folder / "in", folder / "out", ignore, gpus=gpus)

    async with running_agent() as client:
        for gpus in ((), ("GPU-00000000-0000-0000-0000-000000000000",)):
            result = await run(client, gpus)
            assert (result.state, result.reason) == ("refused", "no_gpu")
            assert result.usage.seconds_useful == 0
