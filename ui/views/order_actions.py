"""What a person may do in an order: the button, its icon, and what it means, by kind and action."""

from __future__ import annotations

from typing import Final

_COMPLETE = (
    "&Confirm: pay the seller",
    "done",
    "The money leaves escrow for the seller at once. It cannot be undone.",
)
_PAY_DEVELOPER = (
    "&Confirm: pay the developer",
    "done",
    "The money leaves escrow for the developer at once. It cannot be undone.",
)
_DISPUTE = (
    "Open a &dispute…",
    "scales",
    "The arbiter decides about the money. It stays in escrow until then.",
)
_CLAIM = ("C&laim the payment", "coin", "The review time has passed: the seller is paid.")
ACTIONS: Final = {
    ("sale", "complete"): _COMPLETE,
    ("sale", "dispute"): _DISPUTE,
    ("sale", "claim"): _CLAIM,
    ("sale", "cancel"): (
        "Ca&ncel the order",
        "cancel",
        "The order ends. The whole price is the buyer's again.",
    ),
    ("sale", "refund"): (
        "Take my money &back",
        "back",
        "The time to deliver has passed: the whole price returns.",
    ),
    ("compute", "cancel"): ("Stop the &job", "stop", "The job stops. Only the seconds until now are paid."),
    ("compute", "refund"): (
        "Take my money &back…",
        "back",
        (
            "What is not earned returns after the withdrawal delay. For a provider that has fallen silent: "
            "it can claim what it earned until then."
        ),
    ),
    ("custom", "complete"): _PAY_DEVELOPER,
    ("custom", "dispute"): _DISPUTE,
    ("custom", "claim"): ("C&laim the payment", "coin", "The review time has passed: you are paid."),
    ("custom", "cancel"): (
        "Ca&ncel the order",
        "cancel",
        "The order ends. The whole price is the buyer's again; your model stays yours.",
    ),
    ("custom", "refund"): (
        "Take my money &back",
        "back",
        "The deadline has passed: the whole price returns.",
    ),
}
KINDS: Final = {"sale": "Model", "compute": "Job", "custom": "Model made to order"}
