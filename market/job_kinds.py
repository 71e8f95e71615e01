"""The kinds of job that are traded, and the words for them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

KindOfJob = Literal["infer", "train", "evaluate", "script", "serve", "federate"]
KINDS: Final[tuple[KindOfJob, ...]] = get_args(KindOfJob)
FOREIGN_CODE: Final[frozenset[KindOfJob]] = frozenset({"script"})
"""Kinds that run a program of the buyer's: a provider takes them only where its owner said so."""
USUAL_KINDS: Final[tuple[KindOfJob, ...]] = tuple(kind for kind in KINDS if kind not in FOREIGN_CODE)
GPU_KINDS: Final[frozenset[KindOfJob]] = frozenset({"train", "script"})
"""Kinds that can use a graphics processor."""
SCRIPT: Final = "script.py"
"""The input that holds the program of a script job."""

SignedKind = Annotated[str, Meta(pattern=rf"^({'|'.join(KINDS)})\Z")]
"""A kind of job in a signed statement."""
