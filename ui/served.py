"""What the node tells of served models and batches."""

from __future__ import annotations

from openstall.ui.documents import Document


class Endpoint(Document, frozen=True, kw_only=True):
    """An open endpoint of this computer."""

    base_url: str = ""
    key: str = ""
    model: str = ""
    moved_from: int | None = None


class BatchRef(Document, frozen=True, kw_only=True):
    """A batch that was just started."""

    batch_id: str = ""


class Batch(Document, frozen=True, kw_only=True):
    """One model on many tables, as far as it is."""

    batch_id: str = ""
    state: str = ""
    model: str = ""
    folder: str = ""
    total: int = 0
    done: int = 0
    failed: int = 0
    cap_micro: int = 0
    spent_micro: int = 0


class BatchList(Document, frozen=True, kw_only=True):
    """All of them, newest first."""

    items: tuple[Batch, ...] = ()
