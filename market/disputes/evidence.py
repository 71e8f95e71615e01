"""What a party shows about an order: one file that anybody can check, in the shape of ERC-1497.

The **manifest** names every piece of evidence by its SHA-256, and its author signs it. The manifest that
was signed when the arbiter was called is the **opening**: the chain keeps its hash as the evidence of the
dispute. What came later is under a second manifest. No key, and no row of sealed data, is ever in it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids, text
from openstall.market.disputes.messages import SignedMessage, read_message
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Body, Sha256, Time
from openstall.market.orders.documents import Contract, PeerId, read_contract
from openstall.market.schema import fit

CONTEXT = "evidence"
MAX_BUNDLE = 4 * 1024 * 1024
MOST_ITEMS = 1000
MOST_REASON = 2000
Name = Annotated[str, Meta(pattern=r"^[A-Za-z_]{1,40}( [A-Za-z0-9_]{1,40})?\Z")]
TxHash = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
Value = Annotated[str, Meta(pattern=r"^[0-9A-Za-z,]{0,4000}\Z")]
Signature = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{86})?\Z")]
Kind = Literal["step", "transaction", "event", "delivery", "assessment", "message", "record"]


class Step(Body, frozen=True, kw_only=True):
    """A step of the order, as the author's own books have it."""

    at: Time
    event: Name
    state: Name
    tx: Annotated[str, Meta(pattern=r"^(0x[0-9a-f]{64})?\Z")]


class Transaction(Body, frozen=True, kw_only=True):
    """A transaction that the author signed for the order; `block` 0 while it is in none."""

    purpose: Name
    tx: TxHash
    state: Name
    block: Annotated[int, Meta(ge=0)]


class ChainEvent(Body, frozen=True, kw_only=True):
    """An event of the order's escrow. Bytes are hex; of a sealed key there is its SHA-256 only."""

    contract: Name
    name: Name
    tx: TxHash
    block: Annotated[int, Meta(ge=0)]
    index: Annotated[int, Meta(ge=0)]
    args: dict[Name, Value]


class Item(Body, frozen=True, kw_only=True):
    """A piece of evidence; its hash is the SHA-256 of its canonical bytes."""

    kind: Kind
    doc: dict[str, Any]


class Manifest(Body, frozen=True, kw_only=True):
    """What the author shows, by hash; `reason` says why it called the arbiter, if it did."""

    order_id: Sha256
    author: PeerId
    at: Time
    reason: Annotated[str, Meta(max_length=MOST_REASON, extra=text.LINES)]
    items: Annotated[list[Sha256], Meta(max_length=MOST_ITEMS)]


class SignedManifest(Body, frozen=True, kw_only=True):
    """A manifest with its author's signature under the context `evidence`."""

    manifest: Manifest
    signature: Signature

    @property
    def root(self) -> bytes:
        """The SHA-256 of the canonical manifest: what the chain keeps of a dispute."""
        return hashlib.sha256(_bytes(self.manifest)).digest()


class Bundle(Body, frozen=True, kw_only=True):
    """The whole file."""

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    order: dict[str, Any]
    buyer_signature: Signature
    seller_signature: Signature
    opening: SignedManifest | None
    manifest: SignedManifest
    items: Annotated[list[Item], Meta(max_length=MOST_ITEMS)]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle whose form was checked; what its signatures are worth is another question."""

    bundle: Bundle
    contract: Contract
    raw: bytes

    @property
    def author(self) -> str:
        """The peer that shows it."""
        return self.bundle.manifest.manifest.author

    @property
    def reason(self) -> str:
        """Why the author called the arbiter; empty where it did not."""
        return self.bundle.opening.manifest.reason if self.bundle.opening is not None else ""

    def docs(self, kind: Kind) -> list[dict[str, Any]]:
        """All items of one kind."""
        return [item.doc for item in self.bundle.items if item.kind == kind]


def item_hash(item: Item) -> str:
    """The name of an item in a manifest."""
    return hashlib.sha256(_bytes(item)).hexdigest()


def sign_manifest(
    contract: Contract, items: list[Item], *, author: str, seed: bytes, at: int, reason: str = ""
) -> SignedManifest:
    """The author's statement of what it shows.

    Raises:
        InvalidOrder: there is more than a bundle may hold.
    """
    if len(items) > MOST_ITEMS:
        raise _too_much()
    manifest = Manifest(
        order_id=contract.order_id,
        author=author,
        at=at,
        reason=reason,
        items=[item_hash(item) for item in items],
    )
    signature = ids.sign(seed, CONTEXT, contract.order.network, _bytes(manifest))
    return SignedManifest(manifest=manifest, signature=signature)


def write_bundle(
    contract: Contract,
    signatures: tuple[str, str],
    items: list[Item],
    manifest: SignedManifest,
    opening: SignedManifest | None,
) -> bytes:
    """The bytes of the file; `signatures` are those of buyer and seller on the contract.

    Raises:
        InvalidOrder: there is more than a bundle may hold.
    """
    bundle = Bundle(
        order=msgspec.to_builtins(contract.order),
        buyer_signature=signatures[0],
        seller_signature=signatures[1],
        opening=opening,
        manifest=manifest,
        items=items,
    )
    raw = _bytes(bundle)
    if len(raw) > MAX_BUNDLE:
        raise _too_much()
    return raw


def read_bundle(raw: bytes) -> Evidence:
    """Check size, form and schema of a file from anybody; its signatures are checked by `checks`.

    Raises:
        InvalidOrder: `bad_evidence`, with what is wrong.
    """
    try:
        bundle = fit(canonical.decode(raw, max_bytes=MAX_BUNDLE), Bundle, "evidence")
        for item in bundle.items:
            _fit_item(item)
        for signed in (bundle.opening, bundle.manifest):
            if signed is not None:
                text.refuse_hidden(signed.manifest)
        contract = read_contract(canonical.encode(bundle.order))
    except (InvalidRecord, InvalidOrder) as error:
        raise InvalidOrder(
            "bad_evidence", f"That file is no evidence of an order: {error.message}", ""
        ) from error
    return Evidence(bundle=bundle, contract=contract, raw=raw)


def messages_of(found: Evidence) -> list[SignedMessage]:
    """The messages in a bundle, each with a good signature.

    Raises:
        InvalidOrder: one is forged or malformed.
    """
    return [read_message(doc["message"], doc["signature"]) for doc in found.docs("message")]


def _fit_item(item: Item) -> None:
    """The form of the items that this page defines; the others have a reader of their own."""
    schemas: dict[str, type[Body]] = {"step": Step, "transaction": Transaction, "event": ChainEvent}
    if item.kind in schemas:
        fit(item.doc, schemas[item.kind], item.kind)
        return
    inner = {"message": "message", "assessment": "statement", "record": "record"}.get(item.kind)
    if inner is not None:
        shape = {inner: dict, "sig" if item.kind == "record" else "signature": str}
        if set(item.doc) != set(shape) or not all(isinstance(item.doc[name], shape[name]) for name in shape):
            raise InvalidRecord("bad_schema", f"The {item.kind} does not fit its schema.")


def _bytes(value: Body) -> bytes:
    try:
        return canonical.encode(msgspec.to_builtins(value))
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error


def _too_much() -> InvalidOrder:
    return InvalidOrder("too_large", "There is more evidence about this order than one file may hold.", "")
