"""What a developer hands in: the encrypted package, by the hash that it puts on chain."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market import canonical, text
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import BlobRef, Body, Cid, FileEntry, Sha256, check_package
from openstall.market.schema import fit

MODEL_SUFFIX = ".onnx"


class Delivery(Body, frozen=True, kw_only=True):
    """The package of one try; its SHA-256 is the model hash on chain."""

    request: Cid
    files: Annotated[list[FileEntry], Meta(min_length=1, max_length=64)]
    blob: BlobRef
    key_sha256: Sha256

    @property
    def model(self) -> FileEntry:
        """The entry of the model itself."""
        return next(entry for entry in self.files if entry.name.endswith(MODEL_SUFFIX))

    @property
    def model_hash(self) -> bytes:
        """The SHA-256 of the canonical document."""
        return hashlib.sha256(canonical.encode(self.as_dict())).digest()

    def entry_hash(self, wallet: str) -> bytes:
        """What a contest has on the chain for it: of no use to whoever copies it under another wallet."""
        return hashlib.sha256(canonical.encode([wallet.lower(), self.as_dict()])).digest()

    def as_dict(self) -> dict[str, Any]:
        """The document as JSON has it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def read_delivery(value: Any, *, request: str, model_hash: bytes, entrant: str = "") -> Delivery:
    """Check a document from anybody against what the chain says, in a contest for the wallet `entrant`.

    Raises:
        InvalidOrder: it is another than the one that was handed in, or holds no model.
    """
    try:
        found = fit(value, Delivery, "delivery")
        text.refuse_hidden(found)
        check_package([entry.name for entry in found.files])
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    models = [entry for entry in found.files if entry.name.endswith(MODEL_SUFFIX)]
    if len(models) != 1:
        raise InvalidOrder("wrong_package", "What was handed in is not a package with one ONNX model.")
    named = found.entry_hash(entrant) if entrant else found.model_hash
    if found.request != request or named != model_hash:
        raise InvalidOrder(
            "wrong_delivery", "The package is not the one whose hash the developer put on the chain."
        )
    return found
