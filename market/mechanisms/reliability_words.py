"""The words of each step of a provider's reliability: what happened, and what would mend it."""

from __future__ import annotations

from typing import Final, Literal

What = Literal[
    "done",
    "challenge_passed",
    "failed",
    "late",
    "owner_ended",
    "silent",
    "false_report",
    "challenge_failed",
    "cheated",
    "bond_paid",
    "job_failed",
    "buyer_ended",
    "called_off",
    "older",
]
"""What a node can have seen of a provider; `older` is nothing but time that has passed."""

_DOCTOR: Final = "Check this machine on Sell compute, or run `openstall doctor`."
_BY_REASON: Final = {
    "agent_lost": ("The program that runs jobs ended in the middle of this one.", _DOCTOR),
    "agent_error": ("The program that runs jobs failed.", _DOCTOR),
    "sandbox_unavailable": ("There was no sandbox for the job.", _DOCTOR),
    "start": ("The job could not be started in the sandbox.", _DOCTOR),
    "provider_restarted": (
        "The provider's node was restarted while the job ran.",
        "Stop selling and let jobs finish before you restart.",
    ),
    "too_late": (
        "The job did not start in the time that was agreed.",
        "Let fewer jobs wait in line, or run more at once.",
    ),
    "owner_stopped": (
        "The owner stopped the job.",
        "“Stop after this job” takes no new one and lets this one finish.",
    ),
    "house_rules": (
        "The owner needed the machine for longer than the job was to wait.",
        "In the house rules, offer hours in which nobody needs it, or let jobs wait longer.",
    ),
    "deadline": (
        "The job stood still until its order's deadline.",
        "In the house rules, offer hours in which nobody needs it, or offer shorter jobs.",
    ),
    "cancelled": ("The report said that the buyer cancelled, and the buyer had not.", ""),
    "withdrawn": ("The report said that the buyer took the money back, and the buyer had not.", ""),
    "cap": ("The report said that the cap was reached, and it was not.", ""),
    "unpaid": (
        "The job was stopped as unpaid, though every second was covered.",
        "Keep your node reachable.",
    ),
}
_BY_BUYER: Final = {
    "cancelled": "The buyer cancelled the job.",
    "withdrawn": "The buyer took the money back.",
    "unpaid": "The buyer paid no more.",
    "cap": "The job reached its buyer's cap.",
}
_BY_WHAT: Final[dict[What, tuple[str, str]]] = {
    "done": ("Job done.", ""),
    "challenge_passed": ("A challenge was passed.", ""),
    "failed": ("The job failed at the provider.", _DOCTOR),
    "late": (
        "The job did not start in the time that was agreed.",
        "Keep node and wallet open while you sell.",
    ),
    "owner_ended": ("The owner ended the job.", "Let jobs finish."),
    "silent": (
        "The provider never said how the job ended, and the buyer took the rest back.",
        "Keep your node running and reachable until a job is settled.",
    ),
    "false_report": ("The provider's report was untrue.", ""),
    "challenge_failed": (
        "A challenge was not met.",
        "Measure this machine again while it is as busy as it will be, and offer no more than it has.",
    ),
    "cheated": ("The provider was caught.", "Run the program as it is published."),
    "bond_paid": ("Oracles found the claim false, and the bond paid.", "Measure this machine again."),
    "job_failed": ("The job ended by a fault of its own, which is nobody's here.", ""),
    "buyer_ended": ("The buyer ended the job.", ""),
    "called_off": ("The buyer took the money back before the job had to start.", ""),
    "older": ("What was seen before counts for less: half after 90 days.", "Every job done counts in full."),
}
_NAMED: Final = frozenset({"failed", "job_failed", "challenge_failed", "cheated"})


def words_of(what: What, reason: str) -> tuple[str, str]:
    """What happened, as both sides may read it, and what its provider can do about it (or nothing)."""
    if what in ("failed", "late", "owner_ended", "false_report") and reason in _BY_REASON:
        return _BY_REASON[reason]
    words, mend = _BY_WHAT[what]
    if what == "buyer_ended":
        return _BY_BUYER.get(reason, words), mend
    named = reason and what in _NAMED
    return (f"{words[:-1]} ({reason})." if named else words), mend
