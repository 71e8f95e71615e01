"""Who is to blame for how a job ended: one table, from the report's state and reason to a party.

It decides whether a job moves to another provider, and whether a broken service level costs a bond. A
reason is what the provider signed in its report; what speaks against its word is weighed elsewhere
(`market.sightings`). The buyer never pays a penalty: where it is to blame it pays the seconds that ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Blamed = Literal["provider", "buyer", "nobody"]
BAD_CHECKPOINT: Final = "bad_checkpoint"
"""The reason of a job that could not go on from the checkpoint that an earlier provider gave out."""
VANISHED: Final = "vanished"
"""No report: the provider could not be reached any more, while others could."""
CUT_OFF: Final = "cut_off"
"""No report in time, and it cannot be told whose line was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Who, and why in words that both sides read."""

    who: Blamed
    words: str


_PROVIDER: Final = {
    "agent_lost": "The compute agent on the provider's machine stopped.",
    "agent_error": "The compute agent failed while it handled the job.",
    "deadline": "The provider held the job back for too long.",
    "disk_full": "The provider's disk is full.",
    "gpu_lost": "The driver of the provider's graphics card no longer answered.",
    "gpu_fault": "A graphics processor of the provider failed.",
    "host_memory": "The provider's machine had less memory left than it rented out.",
    "house_rules": "The house rules of the provider ended the job.",
    "owner_stopped": "The provider took the machine back.",
    "provider_restarted": "The provider's node was restarted while the job ran.",
    "no_gpu": "A graphics card of the provider could not be used.",
    "output_not_stored": "The provider's machine could not store what the job made.",
    "runtime_broken": "What jobs run with is damaged on the provider's machine.",
    "runtime_missing": "The provider's machine lacks what jobs run with.",
    "sandbox_start_failed": "The sandbox on the provider's machine could not be started.",
    "sandbox_too_weak": "The sandbox of the provider's machine is not strong enough for this job.",
    "sandbox_unavailable": "The provider's machine has no sandbox that is strong enough.",
    "start": "The job did not start on the provider's machine.",
    "too_late": "The provider did not start the job in time.",
    "too_hot": "The provider's machine was too hot for its house rules.",
    VANISHED: "The provider could not be reached any more.",
}
_BUYER: Final = {
    "bad_answer": "The job answered what nobody had asked, or at too great length.",
    "bad_event": "The job wrote nonsense to its sandbox.",
    "bad_job_inputs": "The job's files are not as this kind of job needs them.",
    "bad_job_params": "The job's parameters are not valid.",
    "bad_limits": "The order's limits fit no job.",
    "cpu": "The job used more processor time than was rented.",
    "crashed": "The job crashed; its last log lines say why.",
    "disk": "The job wrote more than the disk space that was rented.",
    "files": "The job made too many files.",
    "gpu_memory": "The job needed more of a graphics card's memory than was rented.",
    "inputs_late": "The buyer's data did not come in time.",
    "log": "The job flooded its log.",
    "memory": "The job needed more memory than was rented.",
    "processes": "The job started more processes than was rented.",
    "too_large": "The inputs are larger than the disk space of the order.",
    "unpaid": "The seconds of the job were no longer paid for.",
}
_OF_THE_JOB: Final = (
    *("bad_csv", "bad_label", "columns_mismatch", "job_error", "model_failed", "model_not_runnable"),
    *("model_not_tabular", "model_refused", "output_missing", "output_not_plain", "output_too_large"),
    *(
        "output_unexpected",
        "script_failed",
        "too_few_rows",
        "training_diverged",
        "bad_weights",
        "model_not_text",
    ),
)
"""What a workload says of its own end, and what is said of files that it left."""
_NOBODY: Final = {
    "cancelled": "The buyer ended the job.",
    "cap": "The job reached the cap that the buyer set.",
    "killed": "The job was killed, by itself or from outside: it cannot be told.",
    "ok": "The job is done.",
    "wall": "The job reached its longest time.",
    "withdrawn": "The buyer asked for the rest of the money back.",
    CUT_OFF: "No report came in time, and nobody can tell why.",
}
REASONS: Final[dict[str, Blame]] = {
    **{reason: Blame(who="provider", words=words) for reason, words in _PROVIDER.items()},
    **{reason: Blame(who="buyer", words=words) for reason, words in _BUYER.items()},
    **dict.fromkeys(
        _OF_THE_JOB,
        Blame(who="buyer", words="The job failed by its data, its recipe, its model or its program."),
    ),
    **{reason: Blame(who="nobody", words=words) for reason, words in _NOBODY.items()},
}
"""Every reason that our own node and agent give, and who is to blame."""


def blame(state: str, reason: str) -> Blame:
    """Who is to blame for an end. A job that is done is nobody's fault, and an unknown reason proves nothing.

    A provider that refuses a paid job for a reason of its own is to blame for that.
    """
    if state == "done":
        return REASONS["ok"]
    known = REASONS.get(reason)
    if known is not None:
        return known
    if state == "refused":
        return Blame(who="provider", words="The provider's machine refused the job.")
    return Blame(who="nobody", words="The reason of the end blames nobody.")


def moves_on(state: str, reason: str) -> bool:
    """Whether another provider may go on with the job: a fault of data or recipe would come again there.

    A bad checkpoint is the fault of whoever wrote it, which this report cannot say: it blames nobody here.
    """
    return blame(state, reason).who == "provider" or (state != "done" and reason == BAD_CHECKPOINT)
