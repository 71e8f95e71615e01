"""What the chain shows about an order: the events of its money, and who signed a verdict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.threads import Workers
from openstall.ledger.abi import Event
from openstall.ledger.auction import auction_key
from openstall.ledger.chain import Chain
from openstall.ledger.escrow import escrow_key
from openstall.ledger.model_escrow import ModelEscrowClient, Verdict
from openstall.market.disputes.evidence import ChainEvent
from openstall.market.errors import Conflict
from openstall.market.orders.documents import Contract

_OF_AUCTION = frozenset({"Settled", "Awarded", "Expired"})
"""The bids of others are not the order's business."""


@dataclass(slots=True, kw_only=True)
class ChainFacts:
    """Reads them for one chain."""

    chain: Chain
    escrow: EscrowDesk
    models: ModelDesk
    workers: Workers

    async def events(self, contract: Contract, *, from_block: int = 0) -> list[ChainEvent]:
        """All final events of an order since a block, oldest first.

        Raises:
            Conflict: the order belongs to another chain.
            ChainError: the chain does not answer.
        """
        return await self.workers.chain(self._events, contract, from_block)

    async def is_funded(self, contract: Contract) -> bool:
        """Whether the chain holds, or held, the money under exactly the signed terms."""
        self.check(contract)
        desk = self.models if contract.order.kind == "custom" else self.escrow
        return await desk.is_funded(contract)

    async def signer(
        self,
        contract: Contract,
        *,
        model_sha256: str,
        attempt: int,
        passed: bool,
        report: str,
        signature: str,
    ) -> str:
        """The wallet that signed a verdict for this order's escrow; InvalidOrder where it is no signature."""
        self.check(contract)
        verdict = Verdict(
            key=self.key(contract),
            model_hash=bytes.fromhex(model_sha256),
            attempt=attempt,
            passed=passed,
            report_hash=bytes.fromhex(report),
        )
        raw = bytes.fromhex(signature)
        return await self.workers.chain(ModelEscrowClient(self.chain).signer, verdict, raw)

    def key(self, contract: Contract) -> bytes:
        """The order's name in its escrow."""
        if contract.order.kind == "custom":
            return self.models.key(contract)
        return escrow_key(contract.order.buyer_wallet, contract.order_hash)

    def check(self, contract: Contract) -> None:
        """Raises Conflict where the order belongs to another chain."""
        params, order = self.chain.params, contract.order
        own = params.model_escrow if order.kind == "custom" else params.escrow
        named = contract.custom.escrow if order.kind == "custom" else contract.sale.escrow
        if order.chain_id != params.chain_id or named.lower() != own.lower():
            raise Conflict(
                "other_group",
                "The order belongs to another group than the one this node is in.",
                "Look at it with a node of that group.",
            )

    def _events(self, contract: Contract, from_block: int) -> list[ChainEvent]:
        self.check(contract)
        deepest = self.chain.head().number - self.chain.params.confirmations + 1
        custom = contract.order.kind == "custom"
        name = "ModelEscrow" if custom else "OrderEscrow"
        found = self._of(name, self.key(contract), from_block, deepest)
        if custom:
            auction = auction_key(contract.order.buyer_wallet, contract.custom.request_hash)
            held = self._of("SealedBidAuction", auction, from_block, deepest)
            found = [one for one in held if one.name in _OF_AUCTION] + found
        return found

    def _of(self, contract: str, key: bytes, from_block: int, deepest: int) -> list[ChainEvent]:
        events = self.chain.events(
            contract, [None, "0x" + key.hex()], from_block=from_block, to_block=deepest
        )
        return [_written(contract, event) for event in events]


def _written(contract: str, event: Event) -> ChainEvent:
    return ChainEvent(
        contract=contract,
        name=event.name,
        tx=event.tx_hash,
        block=event.block_number,
        index=event.log_index,
        args=dict(_argument(name, value) for name, value in event.args.items()),
    )


def _argument(name: str, value: Any) -> tuple[str, str]:
    """One argument as text; of a sealed key its hash only, and no key in any form."""
    if name == "sealedKey":
        return "sealedKeySha", hashlib.sha256(bytes(value)).hexdigest()
    return name, _text(value)


def _text(value: Any) -> str:
    match value:
        case bytes() | bytearray():
            return bytes(value).hex()
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ",".join(_text(one) for one in value)
        case _:
            return str(value)
