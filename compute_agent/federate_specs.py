"""The recipe of federated averaging, which all parties of a round share, and what puts a round together."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Decimal = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9]\d{0,5})(\.\d{1,9})?\Z", max_length=16)]
Signed = Annotated[str, msgspec.Meta(pattern=r"^-?(0|[1-9]\d{0,5})(\.\d{1,9})?\Z", max_length=17)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class FederateParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round of one party: the recipe that all share. Decimals are strings so that it can be signed.

    `mean` and `spread` are the common scale of the features; `clip` bounds the norm of the whole change.
    """

    task: Literal["classification", "regression"]
    label: Name
    features: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=500)]
    classes: Annotated[tuple[Name, ...], msgspec.Meta(max_length=200)] = ()
    mean: Annotated[tuple[Signed, ...], msgspec.Meta(max_length=500)] = ()
    spread: Annotated[tuple[Decimal, ...], msgspec.Meta(max_length=500)] = ()
    hidden: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=4096)], ...],
        msgspec.Meta(max_length=8),
    ] = (32,)
    epochs: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    learning_rate: Decimal = "0.05"
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 32
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    clip: Decimal
    resume: bool = False
    """Start from `global.safetensors` among the inputs; else from the seed, as the first round does."""

    def fault(self) -> str:
        """What no step can follow, in words; empty where it can."""
        for name in ("features", "classes"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                return f"{name} names one twice"
        if self.label in self.features:
            return "the label is among the features"
        if (len(self.classes) >= 2) != (self.task == "classification") or len(self.classes) == 1:
            return "a classification names two classes or more, a regression none"
        if {len(self.mean), len(self.spread)} not in ({0}, {len(self.features)}):
            return "mean and spread need one number for each feature, or none at all"
        positive = (self.clip, self.learning_rate, *self.spread)
        if not all(float(number) > 0 for number in positive) or float(self.learning_rate) > 10:
            return "clip, spread and learning_rate (up to 10) must be above 0"
        return ""


class AverageParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put the changes of a round together: `delta-1.safetensors` and so on, each weighted by its rows.

    Run by a node for its own user only; it is no kind of job that is traded.
    """

    recipe: FederateParams
    rows: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=2**31)], ...], msgspec.Meta(min_length=1, max_length=32)
    ]

    def fault(self) -> str:
        """As of the recipe."""
        return self.recipe.fault()
