"""From an order to what the agent is told, and from how a job ended to what its report says."""

from __future__ import annotations

import msgspec

from openstall.app.services.orders.desk import OpenOrder
from openstall.compute_agent.specs import JobResult, JobSpec
from openstall.market.errors import InvalidOrder, SandboxError

CPU_SLACK_S = 60
MOST_CPU_S = 7 * 86_400 * 64


def job_spec(order: OpenOrder) -> JobSpec:
    """What the agent is told, in the bounds that the agent knows: it ends at a malformed request.

    Raises:
        InvalidOrder: limits or parameters that no job can have.
    """
    terms = order.contract.compute
    limits = {
        "wall_s": terms.max_s,
        "cpu_s": min(terms.max_s * terms.limits.threads + CPU_SLACK_S, MOST_CPU_S),
        **msgspec.to_builtins(terms.limits),
    }
    plain = {"job_id": order.order_id, "kind": terms.job_kind, "params": terms.params, "limits": limits}
    try:
        spec = msgspec.convert(plain, JobSpec)
        spec.parse_params()
    except msgspec.ValidationError as error:
        raise InvalidOrder("bad_limits", f"The order's limits fit no job: {error}.") from error
    except SandboxError as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    return spec


def not_run(reason: str, words: str, state: str = "failed") -> JobResult:
    """The result of a job that never started, or did not live to its end."""
    return JobResult(state=state, reason=reason, words=words)  # type: ignore[arg-type]  # one of the literal states


def too_late(order: OpenOrder) -> JobResult:
    """The result of a job that did not start in time: for want of a place here, or of the buyer's data."""
    if order.data.get("fetch_at") and not order.data.get("inputs_at"):
        return not_run("inputs_late", "The buyer's data did not come in time.")
    return not_run("too_late", "The job could not start in time.")


_STOPPED = {
    "cancelled": ("cancelled", "The buyer cancelled the job."),
    "owner_stopped": ("cancelled", "The provider stopped the job to have the machine back."),
    "house_rules": (
        "cancelled",
        "The owner of the machine needed it for longer than the job was to wait.",
    ),
    "too_hot": ("cancelled", "The machine was too hot for longer than the job was to wait."),
    "deadline": ("limit", "The job stood still for too long to end before the order's deadline."),
    "withdrawn": ("cancelled", "The buyer asked for the rest of the money back."),
    "unpaid": ("limit", "The job was stopped because its seconds were no longer paid for."),
    "cap": ("limit", "The job reached the cap that the buyer set."),
}


def end_words(result: JobResult, stop: str) -> tuple[str, str, str]:
    """State, reason and words of the report: who stopped the job goes before how the process ended."""
    if result.state == "cancelled" and stop in _STOPPED:
        state, words = _STOPPED[stop]
        return state, stop, words
    return result.state, result.reason, result.words
