"""A developer's model as it is handed in or entered: checked, encrypted, named by one document."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.operations import Progress
from openstall.app.services.keys import package_key
from openstall.app.services.selling import Stock, package_files
from openstall.market.errors import Refused
from openstall.market.requests.delivery import MODEL_SUFFIX, Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedModel:
    """The document that names a model, its key, and the key's salt."""

    delivery: Delivery
    key: bytes
    salt: str

    @classmethod
    def of_note(cls, seed: bytes, note: dict[str, Any]) -> SealedModel:
        """As the books have it."""
        return cls(delivery=delivery_in(note), key=package_key(seed, note["salt"]), salt=note["salt"])

    def as_note(self) -> dict[str, Any]:
        """What the books keep of it; the key follows from the salt."""
        return {"doc": self.delivery.as_dict(), "salt": self.salt}


def delivery_in(note: dict[str, Any]) -> Delivery:
    """The document in a note of this node's books."""
    return msgspec.convert(note["doc"], Delivery)


async def seal_model(stock: Stock, seed: bytes, request: str, path: Path, progress: Progress) -> SealedModel:
    """Check and encrypt a model for a request.

    Raises:
        Refused: the package holds what may not be delivered, or the check found an error.
        SandboxError: there is no sandbox to check the model in.
        StoreError: no room on the disk.
    """
    files, model = package_files(path)
    if model.suffix != MODEL_SUFFIX:
        raise Refused(
            "not_onnx", f"{model.name} is no ONNX model.", "Export the model as ONNX: it is measured."
        )
    await stock.examine(model, progress)
    salt = secrets.token_hex(16)
    key = package_key(seed, salt)
    entries, blob = await stock.seal(files, key, progress)
    delivery = Delivery(request=request, files=entries, blob=blob, key_sha256=hashlib.sha256(key).hexdigest())
    return SealedModel(delivery=delivery, key=key, salt=salt)
