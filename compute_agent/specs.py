"""What a compute agent is told and tells: job specs, events, results, what a machine has.

Every structure is frozen and decoded strictly: unknown fields, wrong types and values outside the
stated bounds are refused before anything runs. Sizes are bytes, times are whole seconds unless the
name says otherwise.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from openstall.compute_agent.assess_specs import ASSESSING, AssessKind, AssessParams
from openstall.compute_agent.capacity_specs import MEASURING, MeasuringKind, MeasuringParams
from openstall.compute_agent.federate_specs import AverageParams, FederateParams
from openstall.compute_agent.serving import Answer
from openstall.market.errors import SandboxError
from openstall.market.job_kinds import SCRIPT, KindOfJob

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

JobKind = Literal["lint", "average", KindOfJob, MeasuringKind, AssessKind]
JobState = Literal["done", "failed", "cancelled", "refused", "limit"]
Severity = Literal["error", "warning", "info"]
Tier = Literal["none", "reduced", "full"]
"""How much holds a job on a machine; see docs/sandbox.md."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9]{1,16}){1,3}")
_RESERVED = frozenset(
    {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"com{n}" for n in range(10)),
        *(f"lpt{n}" for n in range(10)),
    }
)

SAFE_SUFFIXES: Final = (
    *(
        "csv",
        "json",
        "jsonl",
        "txt",
        "log",
        "onnx",
        "safetensors",
        "npy",
        "parquet",
        "png",
        "jpg",
        "wav",
        "bin",
    ),
)
"""What a script may leave: formats that nothing runs when they are opened."""

_Decimal = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9]\d{0,5})(\.\d{1,9})?\Z", max_length=16)]
_Argument = Annotated[str, msgspec.Meta(max_length=400, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


def is_plain_file_name(name: str) -> bool:
    """Whether `name` may be given to or taken from a job.

    ASCII, one to three extensions, no path, no leading dot or dash, not a Windows device name.
    """
    return _FILE_NAME.fullmatch(name) is not None and name.split(".", maxsplit=1)[0].lower() not in _RESERVED


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one job may use. The house that owns the machine sets them; the job cannot raise them.

    `processes` counts processes and threads together; `disk_bytes` is the output folder;
    `log_bytes` is what is kept of the log (a job that writes four times as much is stopped).
    `gpus` are whole devices, `gpu_memory_bytes` what may be used of each; 0 is all of it.
    """

    wall_s: Annotated[int, msgspec.Meta(ge=1, le=7 * 86400)] = 600
    cpu_s: Annotated[int, msgspec.Meta(ge=1, le=7 * 86400 * 64)] = 1200
    memory_bytes: Annotated[int, msgspec.Meta(ge=128 * MIB, le=4096 * GIB)] = 2 * GIB
    processes: Annotated[int, msgspec.Meta(ge=4, le=512)] = 64
    disk_bytes: Annotated[int, msgspec.Meta(ge=MIB, le=1024 * GIB)] = 256 * MIB
    log_bytes: Annotated[int, msgspec.Meta(ge=KIB, le=64 * MIB)] = MIB
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    gpus: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    gpu_memory_bytes: Annotated[int, msgspec.Meta(ge=0, le=4096 * GIB)] = 0


class LintParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Check one model file; `file` is its name in the input folder."""

    file: Annotated[str, msgspec.Meta(max_length=128)] = "model.onnx"


class InferParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run `model.onnx` on `rows.csv`. With `label`, that column is compared, not fed to the model."""

    label: _Name | None = None
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 256


class TrainParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declared recipe of a train job on `data.csv`. Decimals are strings so that it can be signed."""

    task: Literal["classification", "regression"]
    label: _Name
    hidden: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=4096)], ...],
        msgspec.Meta(max_length=8),
    ] = (32, 16)
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 60
    learning_rate: _Decimal = "0.01"
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 32
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    test_fraction: _Decimal = "0.2"
    standardise: bool = True
    resume: bool = False
    """Go on from `checkpoint.safetensors` among the inputs, which an earlier run of this recipe wrote."""
    checkpoint_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 5
    """Least time between two checkpoints; writing them takes a twentieth of the time at most."""


class EvaluateParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measure `model.onnx` on `rows.csv`, whose column `label` has the right answers."""

    label: _Name
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 256


class ServeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hold `model.onnx` ready and answer questions, until none has come for `idle_s`."""

    idle_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 600


class ScriptParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run `script.py` with `arguments`; `files` are its other inputs, `outputs` all that it leaves."""

    files: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=15)] = ()
    arguments: Annotated[tuple[_Argument, ...], msgspec.Meta(max_length=32)] = ()
    outputs: Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1, max_length=16)]


Params = (
    LintParams
    | InferParams
    | TrainParams
    | EvaluateParams
    | ScriptParams
    | ServeParams
    | FederateParams
    | AverageParams
    | MeasuringParams
    | AssessParams
)
_PARAMS: Final[dict[str, type[Params]]] = {
    "lint": LintParams,
    "infer": InferParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "script": ScriptParams,
    "serve": ServeParams,
    "federate": FederateParams,
    "average": AverageParams,
    **MEASURING,
    **ASSESSING,
}


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job: what to run and within which limits. `params` belongs to `kind` (see `parse_params`)."""

    job_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    kind: JobKind
    params: dict[str, Any] = {}
    limits: Limits = Limits()

    def parse_params(self) -> Params:
        """The parameters in their own type.

        Raises SandboxError `bad_job_params` with the field that is wrong.
        """
        try:
            params = msgspec.convert(self.params, _PARAMS[self.kind])
        except msgspec.ValidationError as error:
            raise _bad_params(self.kind, str(error)) from error
        if isinstance(params, LintParams) and not is_plain_file_name(params.file):
            raise _bad_params(self.kind, f"{params.file!r} is not a plain file name")
        if isinstance(params, ScriptParams):
            self._check_script(params)
        if isinstance(params, FederateParams | AverageParams):
            words = params.fault()
            if words:
                raise _bad_params(self.kind, words)
        if isinstance(params, TrainParams):
            if not 0 < float(params.learning_rate) <= 10:
                raise _bad_params(self.kind, "learning_rate must lie between 0 and 10")
            if not 0 < float(params.test_fraction) < 0.9:
                raise _bad_params(self.kind, "test_fraction must lie between 0 and 0.9")
        return params

    def _check_script(self, params: ScriptParams) -> None:
        for name in (*params.files, *params.outputs):
            if not is_plain_file_name(name):
                raise _bad_params(self.kind, f"{name!r} is not a plain file name")
        if len(set(params.files) | {SCRIPT}) != len(params.files) + 1 or len(set(params.outputs)) != len(
            params.outputs
        ):
            raise _bad_params(self.kind, "a file is named twice")
        strange = [name for name in params.outputs if name.rpartition(".")[2].lower() not in SAFE_SUFFIXES]
        if strange:
            raise _bad_params(
                self.kind, f"{strange[0]!r} is no format that holds data only ({', '.join(SAFE_SUFFIXES)})"
            )


def _bad_params(kind: str, words: str) -> SandboxError:
    return SandboxError(
        "bad_job_params",
        f"The parameters of this {kind} job are not valid: {words}.",
        "Correct the parameters and send the job again; nothing was run and nothing is owed.",
    )


class OutputFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One collected artefact, by its name in the output folder."""

    name: str
    size: int
    sha256: str


class Usage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured at the provider. `seconds_useful` are begun seconds since the first useful output.

    Those in which the job stood still because the owner wanted the machine do not count.
    """

    seconds_useful: int = 0
    cpu_s: int = 0
    peak_memory_bytes: int = 0


class JobResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a job ended. `reason` is a stable code, `words` and `what_next` are for a person."""

    state: JobState
    reason: str
    words: str
    what_next: str = ""
    outputs: tuple[OutputFile, ...] = ()
    usage: Usage = Usage()


class LogLine(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """A line the job printed, control characters removed. `seq` counts from 0 without gaps."""

    seq: int
    text: str


class FirstOutput(msgspec.Struct, frozen=True, kw_only=True, tag="first_output"):
    """The job has begun its proper work: metering starts here. `start_ms` is launch to this point."""

    start_ms: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """`done` of `total` steps (epochs, rows …)."""

    done: int
    total: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint"):
    """The state after `done` steps lies in the job's folder for checkpoints; it replaces those before."""

    file: OutputFile
    done: int


class UsageTick(msgspec.Struct, frozen=True, kw_only=True, tag="usage"):
    """Sent about once a second while the job runs."""

    usage: Usage


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """Always the last event of a job, sent exactly once."""

    result: JobResult


JobEvent = LogLine | FirstOutput | Progress | Checkpoint | Answer | UsageTick | End


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the doctor. A failed check of severity `error` keeps the agent from running jobs.

    `command` mends it where a single one does; the words of `fix` say whether an administrator must run it.
    """

    name: str
    severity: Severity
    ok: bool
    cause: str
    fix: str = ""
    command: str = ""


GPU_CHECK: Final = "graphics cards"
"""The check without which no job gets a graphics processor."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GPU as its driver names it (claimed, not proved)."""

    id: str = ""
    name: str
    memory_bytes: int
    driver: str
    passed: bool | None = None
    """Whether the doctor found that it works for jobs and keeps nothing of them; None before it looked."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this machine has. No GPU is a normal case; `gpu_note` says why not, or what does not fit."""

    system: str
    machine: str
    cpu_name: str
    cores_physical: int
    cores_logical: int
    memory_bytes: int
    memory_free_bytes: int
    disk_free_bytes: int
    load_percent: int
    disk_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str = ""


class RuntimeState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The workload runtime. `packages` maps name to installed version."""

    state: Literal["ready", "missing", "broken"]
    path: str = ""
    size_bytes: int = 0
    packages: dict[str, str] = {}
    words: str = ""
    fix: str = ""


class InstallProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Progress of installing the workload runtime: `done` of `total` steps of `stage`."""

    stage: str
    done: int
    total: int
    words: str
