"""What request bodies share: unknown fields and loose types are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PathText = Annotated[str, Field(min_length=1, max_length=4096)]
"""A place on this machine."""


class Body(BaseModel):
    """A strict JSON object; errors never repeat the input, which may be a secret."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
