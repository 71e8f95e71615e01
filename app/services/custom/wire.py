"""What the parties and evaluators of a model made to order ask of one another.

Protocol `/openstall/custom/1`: one canonical JSON request of at most 64 KiB, answered by one of at most
128 KiB, or of 1 MiB where rows are opened. Who asks is known by its peer id, which its `peer` record binds
to a wallet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from openstall.market.fields import BlobRef, Body, FileEntry, Sha256
from openstall.market.requests.openings import MAX_OPENINGS

PROTOCOL = "/openstall/custom/1"
MAX_ASK = 64 * 1024
MAX_ANSWER = 128 * 1024
MOST_ANSWER = MAX_OPENINGS
"""That of `openings`, the largest."""

Attempt = Annotated[int, Meta(ge=0, le=16)]
Base64 = Annotated[str, Meta(max_length=32 * 1024)]


class Ask(Body, frozen=True, kw_only=True):
    """A request about one order.

    `delivery`: buyer or evaluator of the developer; `rows`: evaluator of the buyer; `training`: developer of
    the buyer; `verdict`: evaluator to both parties and the arbiter; `openings`: parties and arbiter of an
    evaluator.
    """

    do: Literal["delivery", "rows", "training", "verdict", "openings"]
    order_id: Sha256
    attempt: Attempt = 0
    statement: Base64 = ""
    signature: Annotated[str, Meta(pattern=r"^([0-9a-f]{130})?\Z")] = ""


class DeliveryAnswer(Body, frozen=True, kw_only=True):
    """The delivery document; with the key for evaluators only.

    The salt is public: with the developer's own secret it makes the key again, should its books be lost.
    """

    delivery: dict[str, Any]
    key: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
    salt: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""


class RowsAnswer(Body, frozen=True, kw_only=True):
    """Where the sealed rows are, the file in there, what opens it, and the seed of the rows' salts."""

    blob: BlobRef
    file: FileEntry
    key: Sha256
    seed: Sha256


class TrainingAnswer(Body, frozen=True, kw_only=True):
    """What opens the training data, and the file in there."""

    file: FileEntry
    key: Sha256
