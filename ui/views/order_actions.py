"""What can be done with an order: the button, its icon, and what it means."""

from __future__ import annotations

_COMPLETE = (
    "&Confirm: pay the seller",
    "done",
    "The money leaves escrow for the seller at once. It cannot be undone.",
)
_DISPUTE = (
    "Open a &dispute…",
    "scales",
    "The arbiter decides about the money. It stays in escrow until then.",
)
_COMPLETE_CUSTOM = (
    "&Confirm: pay the developer",
    "done",
    "The money leaves escrow for the developer at once. It cannot be undone.",
)
_CLAIM = ("C&laim the payment", "coin", "The review time has passed: the seller is paid.")
ACTIONS = {
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
    ("custom", "complete"): _COMPLETE_CUSTOM,
    ("custom", "dispute"): _DISPUTE,
    ("custom", "claim"): _CLAIM,
    ("custom", "cancel"): (
        "Ca&ncel the order",
        "cancel",
        "The order ends. The whole price is the buyer's again, and the model stays the developer's.",
    ),
    ("custom", "refund"): ("Take my money &back", "back", "The time has passed: the whole price returns."),
    ("compute", "cancel"): ("Stop the &job", "stop", "The job stops. Only the seconds until now are paid."),
    ("compute", "refund"): (
        "Take my money &back…",
        "back",
        (
            "What is not earned returns after the withdrawal delay. For a provider that has fallen silent: "
            "it can claim what it earned until then."
        ),
    ),
}
