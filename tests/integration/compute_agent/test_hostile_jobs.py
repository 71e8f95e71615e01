"""What a job may try against the machine it runs on."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.compute_agent.jobs import result_of
from openstall.compute_agent.sandbox.cgroup import CgroupScope
from openstall.compute_agent.sandbox.host import Facilities, find_facilities, own_interpreter, probe
from openstall.compute_agent.sandbox.plan import DROPPED_ID_BASE, JOB_ID
from openstall.compute_agent.specs import MIB, FirstOutput, JobSpec, Limits, Progress
from openstall.market.errors import SandboxError

RunScript = Callable[..., Awaitable[Any]]
"""The fixture of conftest: run Python text in a sandbox with tight limits."""

SPEC = JobSpec(job_id="j", kind="script", limits=Limits(memory_bytes=4096 * MIB))
SAY = """
import json, os
def say(**event): os.write(3, json.dumps(event).encode() + b"\\n")
"""


async def test_a_good_job_runs_and_its_output_returns(run_script: RunScript, facilities: Facilities) -> None:
    ran = await run_script(
        SAY + 'import sys\nsay(t="begin")\nprint(sys.argv[1], os.getuid())\nopen("a.txt", "w").write("hi")\n'
        'say(t="progress", done=2, total=2)\n',
        allowed={"a.txt": 10},
    )
    assert ran.outcome.exit_code == 0
    uid = DROPPED_ID_BASE if facilities.mode == "dropped_root" else JOB_ID
    assert ran.log == [f'{{"x": 1}} {uid}']
    assert [item.name for item in ran.outputs] == ["a.txt"]
    assert (ran.folder / "out" / "a.txt").read_text() == "hi"
    assert any(isinstance(event, FirstOutput) for event in ran.events)
    assert Progress(done=2, total=2) in ran.events
    assert ran.outcome.usage.seconds_useful == 1


async def test_a_job_that_never_begins_owes_nothing(run_script: RunScript) -> None:
    ran = await run_script("import time\ntime.sleep(0.3)\nraise SystemExit(1)\n")
    assert ran.outcome.exit_code == 1
    assert ran.outcome.usage.seconds_useful == 0


@pytest.mark.parametrize("code", ["agent_lost", "host_memory", "sandbox_start_failed", "owner_stopped"])
async def test_a_program_cannot_blame_the_provider(run_script: RunScript, code: str) -> None:
    """With a service level that would be money: it may speak on the pipe of events as it likes."""
    ran = await run_script(
        SAY + f'say(t="begin")\nsay(t="fault", code={code!r}, words="x")\nraise SystemExit(3)'
    )
    assert ran.outcome.fault is not None
    assert ran.outcome.fault[0] == "job_error"
    late = await run_script(SAY + 'say(t="begin")\nsay(t="stage1", words="no sandbox")\nraise SystemExit(3)')
    assert late.outcome.fault is not None
    assert late.outcome.fault[0] == "bad_event"
    killed = await run_script("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert killed.outcome.exit_code == 137
    assert result_of(SPEC, killed.outcome, ()).reason == "killed"


async def test_every_probed_door_is_shut(facilities: Facilities) -> None:
    assert await probe(facilities, own_interpreter()) >= 0


async def test_an_open_door_fails_the_self_test(facilities: Facilities) -> None:
    allow_everything = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
    leaky = dataclasses.replace(facilities, filter=allow_everything)
    with pytest.raises(SandboxError) as caught:
        await probe(leaky, own_interpreter())
    assert caught.value.code == "sandbox_leaks"
    assert "memory-only file" in caught.value.message


async def test_host_files_are_out_of_reach(run_script: RunScript, tmp_path: Path) -> None:
    secret = tmp_path / "wallet.json"
    secret.write_text("secret")
    ran = await run_script(
        f"""
import os
for path in ("/etc/passwd", "/etc/shadow", "/root", "/home", {str(secret)!r}, "/proc/self/environ",
             "/proc/1/root", "/sys/class/net", "/job/in/../../etc/passwd", "/var", "/run", "/"):
    try:
        with open(path) as file:
            print("OPEN", path)
    except OSError:
        try:
            print("OPEN", path, os.listdir(path))
        except OSError:
            pass
for path in ("/job/in/data.csv", "/rt/x", "/usr/lib/x", "/sbx/stage1.py", "/x", "/dev/x"):
    try:
        open(path, "w")
        print("WRITE", path)
    except OSError:
        pass
print(open("/job/in/data.csv").readline().strip())
"""
    )
    assert ran.log == ["a,b"]


async def test_sockets_are_refused(run_script: RunScript) -> None:
    ran = await run_script(
        """
import socket
for family in range(1, 46):
    for kind in (1, 2, 3):
        try:
            socket.socket(family, kind)
            print("OPEN", family, kind)
        except OSError:
            pass
try:
    socket.socketpair()
    print("OPEN pair")
except OSError:
    pass
print("end")
"""
    )
    assert ran.log == ["end"]


async def test_processes_cannot_be_started(run_script: RunScript) -> None:
    ran = await run_script(
        """
import os, subprocess, sys
loader = "/usr/lib64/ld-linux-x86-64.so.2"
for attempt in (os.fork, lambda: subprocess.run([sys.executable]), lambda: os.execv(loader, ["x"])):
    try:
        attempt()
        print("OPEN")
    except OSError:
        pass
import threading
thread = threading.Thread(target=print, args=("thread",))
thread.start(); thread.join()
"""
    )
    assert ran.log == ["thread"]


async def test_fork_bomb_is_held_and_ended(run_script: RunScript) -> None:
    ran = await run_script(
        """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
        allow_fork=True,
        wall_s=2,
    )
    assert ran.outcome.limit in {"wall", "processes", "memory", "cpu"}


async def test_endless_threads_are_held(run_script: RunScript) -> None:
    ran = await run_script(
        """
import threading, time
count = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        count += 1
except RuntimeError:
    print(count < 16, flush=True)
import os
os._exit(0)
"""
    )
    assert ran.log == ["True"]


async def test_private_memory_stops_at_the_limit(run_script: RunScript) -> None:
    ran = await run_script("held = []\nwhile True: held.append(bytearray(1 << 20))\n")
    assert ran.outcome.exit_code != 0
    assert "MemoryError" in "".join(ran.log)
    assert ran.outcome.usage.peak_memory_bytes <= 140 * MIB


async def test_shared_memory_stops_at_the_limit(run_script: RunScript) -> None:
    ran = await run_script(
        """
import mmap
held = []
while True:
    block = mmap.mmap(-1, 1 << 20)
    for at in range(0, 1 << 20, 4096): block[at] = 1
    held.append(block)
"""
    )
    assert ran.outcome.limit == "memory"


async def test_disk_stops_at_the_limit(run_script: RunScript) -> None:
    ran = await run_script(
        """
import errno, os
for folder in ("/job/out", "/tmp", "/dev/shm"):
    total, number = 0, 0
    try:
        while total < (1 << 30):
            with open(f"{folder}/f{number}", "wb", buffering=0) as file:
                number += 1
                for _ in range(4):
                    total += file.write(bytes(1 << 20))
    except OSError as error:
        print(folder, errno.errorcode[error.errno], total >> 20, flush=True)
    for n in range(number): os.unlink(f"{folder}/f{n}")
""",
        memory_bytes=256 * MIB,
    )
    assert ran.log == ["/job/out ENOSPC 8", "/tmp ENOSPC 64", "/dev/shm ENOSPC 64"]


async def test_inodes_stop_at_the_limit(run_script: RunScript) -> None:
    ran = await run_script("n = 0\nwhile True:\n    n += 1\n    open(f'/tmp/{n}', 'w').close()\n")
    assert ran.outcome.limit == "files"


async def test_a_huge_file_is_refused_by_the_kernel(run_script: RunScript) -> None:
    ran = await run_script(
        """
import os
for path in ("/job/out/a", "/tmp/a"):
    try:
        open(path, "wb").truncate(1 << 40)
        print("OPEN")
    except OSError as error:
        print(error.strerror)
    os.unlink(path)
"""
    )
    assert ran.log == ["File too large", "File too large"]


async def test_wall_clock_ends_a_sleeper(run_script: RunScript) -> None:
    ran = await run_script("import time\ntime.sleep(1000)\n", wall_s=1)
    assert ran.outcome.limit == "wall"


async def test_processor_time_ends_a_spinner(run_script: RunScript) -> None:
    ran = await run_script("while True: pass\n", cpu_s=1)
    assert ran.outcome.limit == "cpu"


async def test_cancel_ends_a_job_that_ignores_every_signal(run_script: RunScript) -> None:
    cancel = trio.Event()
    ran = await run_script(
        """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
print("ignoring", flush=True)
while True: time.sleep(1)
""",
        cancel=cancel,
        on_line=lambda _line: cancel.set(),
    )
    assert ran.outcome.cancelled
    assert ran.log == ["ignoring"]


async def test_a_flooded_log_is_cut_and_the_job_ended(run_script: RunScript) -> None:
    ran = await run_script("while True: print('A' * 100)\n")
    assert ran.outcome.limit == "log"
    assert sum(map(len, ran.log)) < 20_000
    assert "the log is full" in ran.log[-1]


async def test_a_line_without_end_is_cut(run_script: RunScript) -> None:
    ran = await run_script("import sys\nwhile True: sys.stdout.write('A' * 1000)\n")
    assert ran.outcome.limit == "log"
    assert max(map(len, ran.log)) <= 2001


@pytest.mark.parametrize(
    "noise",
    [
        *("{", "[]", '{"t": "end"}', '{"t": "progress", "done": -1, "total": 1}'),
        *('{"t": "progress", "done": 1, "total": NaN}', '{"t": "begin", "t": "begin", "x": 1}'),
        *('{"t": "fault", "code": "X Y", "words": ""}', '{"t": "usage", "seconds": 9999}'),
    ],
)
async def test_nonsense_on_the_event_pipe_ends_the_job(run_script: RunScript, noise: str) -> None:
    ran = await run_script(f"import os, time\nos.write(3, {noise.encode()!r} + b'\\n')\ntime.sleep(30)\n")
    assert ran.outcome.fault is not None
    assert ran.outcome.fault[0] == "bad_event"


async def test_a_flooded_event_pipe_ends_the_job(run_script: RunScript) -> None:
    ran = await run_script("import os\nwhile True: os.write(3, b'x' * 4096)\n")
    assert ran.outcome.limit == "log"


async def test_a_daemon_does_not_outlive_the_job(run_script: RunScript) -> None:
    ran = await run_script(
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
time.sleep(0.2)
""",
        allow_fork=True,
    )
    # run_sandbox returns only when pid 1 of the namespace is gone, and with it every process inside
    assert ran.outcome.exit_code == 0
    assert ran.outcome.limit == ""


async def test_links_and_pipes_cannot_even_be_made(run_script: RunScript) -> None:
    ran = await run_script(
        """
import os
for attempt in (
    lambda: os.symlink("/etc/passwd", "report.json"),
    lambda: os.mkfifo("report.json"),
    lambda: os.link("/job/in/data.csv", "report.json"),
    lambda: os.mknod("report.json", 0o020666, os.makedev(1, 3)),
):
    try:
        attempt()
        print("OPEN")
    except OSError:
        pass
open("report.json", "w").write("{}")
""",
        allowed={"report.json": 100},
    )
    assert ran.log == []
    assert len(ran.outputs) == 1


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("open('evil.sh', 'w').write('x')", "output_unexpected"),
        ("import os\nos.mkdir('..x')", "output_unexpected"),
        ("import os\nos.mkdir('report.json')", "output_not_plain"),
        ("open('report.json', 'w').write('x' * 200)", "output_too_large"),
        ("open('report.json', 'wb').truncate(1 << 20)", "output_too_large"),
        ("open('../../x', 'w')", ""),
        ("pass", "output_missing"),
    ],
)
async def test_hostile_outputs_are_refused(
    run_script: RunScript, tmp_path: Path, script: str, code: str
) -> None:
    if not code:
        ran = await run_script(script, allowed={"report.json": 100})
        assert ran.outcome.exit_code == 1
        return
    with pytest.raises(SandboxError) as caught:
        await run_script(script, allowed={"report.json": 100})
    assert caught.value.code == code
    assert list((tmp_path / "out").iterdir()) == []


async def test_nothing_is_taken_from_a_job_that_failed(run_script: RunScript) -> None:
    ran = await run_script(
        "open('report.json', 'w').write('{}')\nraise SystemExit(1)", allowed={"report.json": 100}
    )
    assert ran.outputs == ()
    assert list((ran.folder / "out").iterdir()) == []


EXEC_SCOPE = ("/bin/sh", "-c", 'while [ "$1" = -p ]; do shift 2; done; exec "$@"', "scope")


async def test_a_sandbox_runs_inside_a_scope_command(found: Facilities) -> None:
    scope = CgroupScope(manager=EXEC_SCOPE, words="stands for systemd-run --scope, which execs too")
    in_scope = await find_facilities(runtime=own_interpreter(), scope=scope)
    assert in_scope.scope is scope
    assert in_scope.mode == found.mode


async def test_a_scope_that_does_not_work_is_left_out(found: Facilities) -> None:
    scope = CgroupScope(manager=("/bin/false",), words="broken")
    without = await find_facilities(runtime=own_interpreter(), scope=scope)
    assert without.scope.manager == ()
    assert without.mode == found.mode


async def test_a_sandbox_that_dies_at_its_start_says_why(facilities: Facilities) -> None:
    kill_everything = struct.pack("=HBBI", 0x06, 0, 0, 0x80000000)
    with pytest.raises(SandboxError) as caught:
        await probe(dataclasses.replace(facilities, filter=kill_everything), own_interpreter())
    assert caught.value.code == "sandbox_start_failed"
    assert caught.value.what_next
