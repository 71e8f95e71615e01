"""The kinds of job that are traded, and the words for them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

KindOfJob = Literal["infer", "train", "evaluate"]
KINDS: Final[tuple[KindOfJob, ...]] = get_args(KindOfJob)

SignedKind = Annotated[str, Meta(pattern=rf"^({'|'.join(KINDS)})\Z")]
"""A kind of job in a signed statement."""
