"""Base of all request bodies: unknown fields and loose types are refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A strict JSON object; errors never repeat the input, which may be a secret."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
