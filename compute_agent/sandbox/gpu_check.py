"""May strangers' jobs use the graphics cards of this machine? Found out by two jobs of our own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.gpu import Grant, find_grant, no_gpu
from openstall.compute_agent.sandbox.host import Facilities, trial
from openstall.compute_agent.sandbox.plan import Entry
from openstall.compute_agent.specs import GIB, MIB, Gpu, Limits
from openstall.market.errors import SandboxError

_MODULE = "openstall.compute_agent.workloads.gpu_check"
_LIMITS = Limits(
    wall_s=180, cpu_s=180, memory_bytes=8 * GIB, processes=128, disk_bytes=MIB, log_bytes=65536, gpus=1
)


class _Device(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    total: int
    looked: int
    left_over: bool
    same: bool


class _Report(msgspec.Struct, forbid_unknown_fields=True):
    runtime: str
    devices: list[_Device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """Devices that passed, by the driver's ids, and what was found in words."""

    ids: tuple[str, ...]
    words: str


async def prove_gpus(
    facilities: Facilities, runtime: Runtime, gpus: Sequence[Gpu], *, lent: frozenset[str] = frozenset()
) -> Proved:
    """Run the check on each device alone: it works in the sandbox, and keeps nothing of an earlier job.

    `gpus` are all of the machine; those that are lent are not touched. One that does not pass is left out.

    Raises:
        SandboxError: `no_gpu`, with what does not hold, where none passes.
    """
    if facilities.tier != "full" or not facilities.landlock:
        raise no_gpu("it takes the full sandbox with Landlock, which this machine does not have")
    if not gpus:
        raise no_gpu("there is none")
    passed, words, first = [], [], None
    for number, gpu in enumerate(gpus, 1):
        if gpu.id in lent:
            continue
        try:
            grant, secret = find_grant([gpu.id]), secrets.randbelow(2**62) + 1
            await _look(facilities, runtime, grant, secret, write=True)
            after = await _look(facilities, runtime, grant, secret, write=False)
        except SandboxError as error:
            first = first or error
            words.append(f"card {number} ({gpu.name}) is not rented out: {error.message}")
            continue
        passed.append(gpu.id)
        words.append(f"{after.name}: works in the sandbox, {after.looked // MIB} MiB looked at were cleared")
    if first is not None and not passed:
        raise first
    return Proved(ids=tuple(passed), words="; ".join(words))


async def _look(
    facilities: Facilities, runtime: Runtime, grant: Grant, secret: int, *, write: bool
) -> _Device:
    params = msgspec.json.encode({"secret": secret, "write": write})
    tried = await trial(
        facilities, runtime, Entry(module=_MODULE), _LIMITS, output="gpus.json", params=params, gpu=grant
    )
    if tried.written is None:
        fault = tried.outcome.fault
        raise no_gpu(fault[1] if fault else tried.last_line or "the check did not run")
    try:
        devices = msgspec.json.decode(tried.written, type=_Report).devices
    except msgspec.DecodeError as error:
        raise no_gpu("the check wrote something that cannot be read") from error
    if len(devices) != 1:
        raise no_gpu(f"{len(devices)} devices are seen where one was let in")
    if devices[0].left_over:
        raise no_gpu("its memory still holds what an earlier job left there")
    if not devices[0].same:
        raise no_gpu("it computes other figures than the processor")
    return devices[0]


def gpu_advice(error: SandboxError, runtime: Runtime) -> SandboxError:
    """The same error, with the likeliest mending: the usual runtime computes on the processor only."""
    if "+cpu" not in runtime.torch_version:
        return error
    return SandboxError(
        error.code,
        error.message,
        "Install the workload runtime for graphics cards: `openstall compute install-runtime --gpu`.",
    )
