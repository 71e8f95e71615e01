"""From a job spec to a job result: fixed workloads, their inputs and outputs, and the words for each end.

What can run is decided here and nowhere else: a spec names a kind, never code.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, get_args

import msgspec

from openstall.compute_agent.assess_specs import SILENT, SILENT_WORDS, AssessParams
from openstall.compute_agent.capacity_specs import BenchmarkParams, ChallengeParams, VerifyChallengeParams
from openstall.compute_agent.federate_specs import AverageParams, FederateParams
from openstall.compute_agent.gpu_faults import GpuFault
from openstall.compute_agent.recheck_specs import CHECKPOINT, CompareParams, ReplayParams
from openstall.compute_agent.sandbox.plan import Entry
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.specs import (
    GIB,
    MIB,
    JobKind,
    JobResult,
    JobSpec,
    LintParams,
    OutputFile,
    Params,
    ScriptParams,
    ServeParams,
    Tier,
    TrainParams,
    Usage,
)
from openstall.market.errors import SandboxError
from openstall.market.job_kinds import FOREIGN_CODE, SCRIPT

_MODULES: Final[Mapping[JobKind, str]] = {
    "lint": "openstall.compute_agent.workloads.lint",
    "infer": "openstall.compute_agent.workloads.infer",
    "train": "openstall.compute_agent.workloads.train",
    "evaluate": "openstall.compute_agent.workloads.evaluate",
    "script": "openstall.compute_agent.workloads.script",
    "serve": "openstall.compute_agent.workloads.serve",
    "federate": "openstall.compute_agent.workloads.federate",
    "average": "openstall.compute_agent.workloads.average",
    "challenge": "openstall.compute_agent.workloads.challenge",
    "verify_challenge": "openstall.compute_agent.workloads.verify_challenge",
    "benchmark": "openstall.compute_agent.workloads.benchmark",
    "compare": "openstall.compute_agent.workloads.compare",
    "replay": "openstall.compute_agent.workloads.replay",
    "assess": "openstall.compute_agent.workloads.assess",
}
_STATES_BYTES: Final = GIB
GLOBAL: Final = "global.safetensors"
"""The input with the weights that a round of federated averaging starts from."""
PRELOAD: Final[Mapping[JobKind, tuple[str, ...]]] = {
    "lint": ("numpy", "onnx.checker", "openstall.compute_agent.workloads.lint_onnx"),
    "infer": (
        *("numpy", "onnxruntime", "openstall.compute_agent.workloads.lint_onnx"),
        *("openstall.compute_agent.workloads.metrics", "openstall.compute_agent.workloads.models"),
    ),
    "evaluate": (
        *("numpy", "onnxruntime", "openstall.compute_agent.workloads.lint_onnx"),
        *("openstall.compute_agent.workloads.metrics", "openstall.compute_agent.workloads.models"),
    ),
    "train": (
        *("openstall.compute_agent.workloads.network", "openstall.compute_agent.workloads.metrics"),
        "openstall.compute_agent.workloads.tables",
    ),
    "script": ("numpy",),
    "federate": (
        *("openstall.compute_agent.workloads.network", "safetensors.torch"),
        "openstall.compute_agent.workloads.tables",
    ),
    "serve": (
        *("numpy", "onnxruntime", "openstall.compute_agent.workloads.lint_onnx"),
        *("openstall.compute_agent.workloads.generate", "openstall.compute_agent.workloads.models"),
    ),
}
"""What a workload imports, by kind: done ahead in a warm sandbox. Never the workload itself."""

_TIERS: Final[tuple[Tier, ...]] = ("none", "reduced", "full")
_LEAST_TIER: Final[Mapping[JobKind, Tier]] = {
    kind: "full" if kind in FOREIGN_CODE or kind in SILENT else "reduced" for kind in get_args(JobKind)
}
"""Our code on foreign data holds in both; foreign code and sealed rows are let into the strongest only."""

_REPORT_BYTES: Final = 4 * MIB
_MEASURING_OUTPUTS: Final = {
    "challenge": {"proof.json": _REPORT_BYTES, "states.bin": _STATES_BYTES},
    "verify_challenge": {"verdict.json": _REPORT_BYTES},
    "benchmark": {"figures.json": _REPORT_BYTES},
    "compare": {"comparison.json": _REPORT_BYTES},
    "replay": {"weights.safetensors": _STATES_BYTES, "replay.json": _REPORT_BYTES},
}
_MAIN_OUTPUT: Final = {"infer": "predictions.csv", "train": "model.onnx", "federate": "delta.safetensors"}
_PARAMS_CAP_BYTES: Final = 32 * 1024
_SIGKILL_STATUS: Final = 137
_SIGXCPU_STATUS: Final = 152

_KILLED_WORDS: Final = {
    "killed": "The job was killed, by itself or from outside.",
    "host_memory": "The provider's machine ran out of memory, and its system killed the job.",
}
_LEFT_WRONG: Final = frozenset(
    {"output_unexpected", "output_missing", "output_not_plain", "output_too_large"}
)
_LIMIT_WORDS: Final = {
    "wall": ("ran longer than its {wall_s} seconds", "Allow more time, or send less work."),
    "cpu": ("used more than its {cpu_s} seconds of processor time", "Allow more time, or send less work."),
    "memory": (
        "needed more than its {memory_mib} MiB of memory",
        "Rent more memory, or send a smaller batch or model.",
    ),
    "disk": ("wrote more than its {disk_mib} MiB", "Allow more disk, or ask for less output."),
    "files": ("made too many files", "A workload of this market makes a handful; the model is at fault."),
    "processes": ("started more than its {processes} processes", "The model is at fault."),
    "log": ("flooded its log", "The log is capped at {log_kib} KiB; the model is at fault."),
    "gpu_memory": (
        "needed more than its {gpu_memory_mib} MiB of a graphics card's memory",
        "Rent a larger card, or send a smaller batch or model.",
    ),
    "gpu_lost": ("lost its graphics card: the driver no longer answers", "Try again, or elsewhere."),
    "start": ("did not start within 20 seconds", "The machine is overloaded; try again or elsewhere."),
}


_INPUTS: Final[Mapping[type[Params], AbstractSet[str]]] = {
    ServeParams: frozenset({"model.onnx"}),
    VerifyChallengeParams: frozenset({"states.bin"}),
    ChallengeParams: frozenset(),
    BenchmarkParams: frozenset(),
}


def entry_of(kind: JobKind) -> Entry:
    """The module of this kind of job."""
    return Entry(module=_MODULES[kind])


def is_asked(kind: JobKind) -> bool:
    """Whether a job of this kind answers questions while it runs."""
    return kind == "serve"


def is_silent(kind: JobKind) -> bool:
    """Whether no log line, no progress and no word of such a job leaves its sandbox."""
    return kind in SILENT


def require_tier(kind: JobKind, tier: Tier) -> None:
    """Raises SandboxError `sandbox_too_weak` for a kind of job that this machine's sandbox does not hold."""
    if _TIERS.index(tier) < _TIERS.index(_LEAST_TIER[kind]):
        raise SandboxError(
            "sandbox_too_weak",
            f"A job of kind {kind} needs a sandbox of tier {_LEAST_TIER[kind]}; this machine has {tier}.",
            "Run `openstall doctor`: it names the cause and the fix.",
        )


def encode_params(params: Params) -> bytes:
    """As the workload receives them. Raises SandboxError `bad_job_params` when they are too long."""
    data = msgspec.json.encode(params)
    if len(data) > _PARAMS_CAP_BYTES:
        raise SandboxError(
            "bad_job_params",
            f"The job's parameters have {len(data)} bytes; the cap is {_PARAMS_CAP_BYTES}.",
            "Make them shorter.",
        )
    return data


def input_names(params: Params) -> frozenset[str]:
    """The files that must lie in the input folder, and no others."""
    names: AbstractSet[str] = _INPUTS.get(type(params), {"model.onnx", "rows.csv"})
    match params:
        case LintParams(file=file):
            names = {file}
        case TrainParams(resume=resume):
            names = {"data.csv", CHECKPOINT} if resume else {"data.csv"}
        case FederateParams(resume=resume):
            names = {"data.csv", GLOBAL} if resume else {"data.csv"}
        case AverageParams(rows=rows, recipe=recipe):
            names = {f"delta-{number}.safetensors" for number in range(1, len(rows) + 1)}
            names |= {GLOBAL} if recipe.resume else set()
        case ScriptParams(files=files):
            names = {SCRIPT, *files}
        case CompareParams() | ReplayParams():
            names = params.input_names()
    return frozenset(names)


def allowed_outputs(spec: JobSpec) -> dict[str, int]:
    """Name to greatest size of everything the job must leave."""
    disk = spec.limits.disk_bytes
    if spec.kind == "average":
        return {GLOBAL: disk, "model.onnx": disk, "report.json": min(_REPORT_BYTES, disk)}
    if spec.kind == "lint":
        return {"lint.json": min(_REPORT_BYTES, disk)}
    if spec.kind == "assess" and isinstance(params := spec.parse_params(), AssessParams):
        return params.outputs()
    if spec.kind == "script" and isinstance(params := spec.parse_params(), ScriptParams):
        return dict.fromkeys(params.outputs, disk)
    measuring = _MEASURING_OUTPUTS.get(spec.kind)
    if measuring is not None:
        return {name: min(cap, disk) for name, cap in measuring.items()}
    main = _MAIN_OUTPUT.get(spec.kind)
    return {**({main: disk} if main else {}), "report.json": min(_REPORT_BYTES, disk)}


def check_folders(inputs: Path, outputs: Path, wanted: frozenset[str], *, share: bool) -> None:
    """See that the inputs are plain files and the output folder is empty; make the latter.

    `share`: let every user id read the inputs, for a job that runs under an id of its own. Raises
    SandboxError `bad_job_inputs`.
    """
    try:
        present = {path.name: path.lstat() for path in inputs.iterdir()}
        outputs.mkdir(parents=True, exist_ok=True)
        occupied = any(outputs.iterdir())
    except OSError as error:
        raise _bad_inputs(f"a folder cannot be used: {error}") from error
    if set(present) != wanted:
        raise _bad_inputs(f"found {sorted(present)}, need {sorted(wanted)}")
    for name, facts in present.items():
        if not stat.S_ISREG(facts.st_mode):
            raise _bad_inputs(f"{name} is not a plain file")
    if occupied:
        raise _bad_inputs("the output folder is not empty")
    if share:
        inputs.chmod(0o755)
        for name in present:
            (inputs / name).chmod(0o644)


def _bad_inputs(words: str) -> SandboxError:
    return SandboxError(
        "bad_job_inputs",
        f"The job's files are not as this kind of job needs them: {words}.",
        "Send the job again with the right files; nothing was run and nothing is owed.",
    )


def result_of(
    spec: JobSpec,
    outcome: Outcome,
    outputs: tuple[OutputFile, ...],
    *,
    host_short: bool = False,
    gpu_faults: Sequence[GpuFault] = (),
) -> JobResult:
    """The result in words that the buyer and the provider both read.

    `host_short`: while the job ran, this machine's system killed processes for want of memory.
    `gpu_faults`: what the driver has reported meanwhile of the devices that it used.
    """
    usage = outcome.usage
    if outcome.cancelled:
        return JobResult(state="cancelled", reason="cancelled", words="The job was cancelled.", usage=usage)
    limit = outcome.limit or _limit_by_status(spec, outcome)
    if limit:
        words, what_next = _LIMIT_WORDS[limit]
        values = _limit_values(spec)
        return JobResult(
            state="limit",
            reason=limit,
            words=f"The job {words.format_map(values)} and was stopped.",
            what_next=what_next.format_map(values),
            usage=usage,
        )
    broken = [fault for fault in gpu_faults if fault.of_hardware]
    if broken and (outcome.fault is not None or outcome.exit_code != 0):
        return JobResult(
            state="failed",
            reason="gpu_fault",
            words=f"A graphics processor of the provider failed (Xid {broken[0].xid}).",
            what_next="Send the job again, or elsewhere.",
            usage=usage,
        )
    if outcome.fault is not None or outcome.exit_code != 0:
        return _failed(spec, outcome, usage, host_short=host_short)
    return JobResult(state="done", reason="ok", words="The job is done.", outputs=outputs, usage=usage)


def _failed(spec: JobSpec, outcome: Outcome, usage: Usage, *, host_short: bool) -> JobResult:
    if is_silent(spec.kind) and (outcome.fault is not None or outcome.exit_code != _SIGKILL_STATUS):
        return _silent_end(outcome, usage)
    if outcome.fault is not None:
        code, words, what_next = outcome.fault
        return JobResult(state="failed", reason=code, words=words, what_next=what_next, usage=usage)
    return _crashed(outcome, usage, host_short=host_short)


def _silent_end(outcome: Outcome, usage: Usage) -> JobResult:
    """A job whose own words stay inside: the code, where it is a known one, and fixed words for it."""
    code = outcome.fault[0] if outcome.fault is not None else "crashed"
    words = SILENT_WORDS.get(code)
    return JobResult(
        state="failed",
        reason=code if words else "crashed",
        words=f"The evaluation ended without figures: {words or 'it broke off'}.",
        what_next="Nothing else is told of it: its words could hold a sealed row.",
        usage=usage,
    )


def _crashed(outcome: Outcome, usage: Usage, *, host_short: bool) -> JobResult:
    """A job that ended without a word of its own."""
    if outcome.exit_code == _SIGKILL_STATUS:
        # What runs inside can kill itself; only the system's own count tells that the machine was short.
        reason = "host_memory" if host_short else "killed"
        return JobResult(state="failed", reason=reason, words=_KILLED_WORDS[reason], usage=usage)
    return JobResult(
        state="failed",
        reason="crashed",
        words=f"The workload ended with status {outcome.exit_code}; its last log lines say why.",
        what_next="If the log does not help, report it with the job's log.",
        usage=usage,
    )


def failed_collection(spec: JobSpec, error: SandboxError, usage: Usage) -> JobResult:
    """A job that ended well but left something other than its outputs."""
    words = error.message
    if is_silent(spec.kind) and error.code in _LEFT_WRONG:
        words = (
            "The evaluation left something other than its figures. It was not taken."  # names of files speak
        )
    return JobResult(state="failed", reason=error.code, words=words, what_next=error.what_next, usage=usage)


def _limit_by_status(spec: JobSpec, outcome: Outcome) -> str:
    """Limits the kernel enforces end a job by signal or error; tell which from what it had used."""
    if outcome.fault is not None and outcome.fault[0] == "out_of_memory":
        return "memory"
    if outcome.fault is not None and outcome.fault[0] == "disk_full":
        return "disk"
    if outcome.exit_code not in {_SIGKILL_STATUS, _SIGXCPU_STATUS}:
        return ""
    if outcome.usage.cpu_s >= spec.limits.cpu_s:
        return "cpu"
    if outcome.usage.peak_memory_bytes >= spec.limits.memory_bytes * 8 // 10:
        return "memory"
    return ""


def _limit_values(spec: JobSpec) -> Mapping[str, int]:
    limits = spec.limits
    return {
        "wall_s": limits.wall_s,
        "cpu_s": limits.cpu_s,
        "memory_mib": limits.memory_bytes // MIB,
        "disk_mib": limits.disk_bytes // MIB,
        "processes": limits.processes,
        "gpu_memory_mib": limits.gpu_memory_bytes // MIB,
        "log_kib": limits.log_bytes // 1024,
        "memory_gib": limits.memory_bytes // GIB,
    }
