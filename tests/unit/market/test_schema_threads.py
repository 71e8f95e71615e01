"""Kinds of structs that many threads read for the first time at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import openstall.app.process
import openstall.compute_agent.agent

SCRIPT = '''
import sys, threading, types
import msgspec
from openstall.market import schema

def made(number):
    """Six kinds, each with eight fields of the one before."""
    module = types.ModuleType(f"openstall.made_up_{number}")
    sys.modules[module.__name__] = module
    source = "import msgspec\\n"
    for k in range(6):
        kind = f"A{k - 1} | None" if k else "int | None"
        source += f"class A{k}(msgspec.Struct, frozen=True):\\n"
        source += "".join(f"    f{n}: {kind} = None\\n" for n in range(8))
    exec(source, module.__dict__)
    return module.A5

RAW = b'{"f0":{"f1":{"f2":{"f3":{"f4":{"f5":3}}}}},"f7":null}'

def read(kind, together):
    together.wait()
    msgspec.json.decode(RAW, type=kind)

kinds = [made(number) for number in range(300)]
schema.prepare_for_threads()
sys.setswitchinterval(1e-6)
for kind in kinds:
    together = threading.Barrier(8)
    threads = [threading.Thread(target=read, args=(kind, together)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
'''


def test_many_threads_may_read_a_kind_for_the_first_time_at_once() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_process_with_threads_prepares_its_structs_first() -> None:
    for module in (openstall.app.process, openstall.compute_agent.agent):
        source = Path(module.__file__).read_text()
        assert 0 < source.index("schema.prepare_for_threads()") < source.index("trio.run(")
