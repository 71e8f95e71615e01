"""The escrow of a model made to order: what the chain shows as final, and what moves it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from openstall.app.services.custom.judged import judged_as
from openstall.app.services.orders import first_block
from openstall.app.services.orders.desk import OpenOrder, OrderDesk, check_chain
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.abi import Event
from openstall.ledger.auction import AuctionClient, auction_key
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.model_escrow import (
    STATES,
    ModelEscrowClient,
    ModelRules,
    ModelTerms,
    SignedVerdict,
    model_order_key,
)
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, InvalidOrder
from openstall.market.orders.documents import Contract, CustomTerms
from openstall.market.requests.bodies import RequestBody


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStep:
    """A step that the chain shows as final: its event in the state machine, when, by which transaction."""

    event: str
    at: int
    tx_hash: str
    data: dict[str, object] = field(default_factory=dict)
    """What the order keeps of it: the attempt, the hash of the model, what was paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """All final steps of an order, oldest first, and the newest key that was handed over."""

    steps: tuple[ModelStep, ...] = ()
    sealed_key: bytes | None = None
    nothing_before: int | None = None
    """Where there is nothing yet: a block that comes before all there can be."""


@dataclass(slots=True, kw_only=True)
class ModelDesk:
    """Reads and moves the escrows of models made to order for one wallet on one chain."""

    desk: OrderDesk
    chain: Chain
    transactions: TransactionService
    wallet: Wallet
    workers: Workers

    def key(self, contract: Contract) -> bytes:
        """The order's name on chain: the auction paid for it."""
        return model_order_key(
            payer=self.chain.contract("SealedBidAuction"),
            buyer=contract.order.buyer_wallet,
            request_hash=contract.custom.request_hash,
        )

    async def look(self, order: OpenOrder) -> ModelView:
        """What the chain shows; money under other terms than the signed ones counts as no money."""
        view = await self.workers.chain(self._look, order)
        await first_block.note(self.desk, order, view.nothing_before)
        return view

    async def award(self, order: OpenOrder) -> None:
        """Anybody: the price goes from the auction into the escrow, the rest back to the requester."""
        terms = order.contract.custom
        await self._send_auction(
            order,
            "award",
            lambda client: client.award(
                order.contract.order.buyer_wallet, terms.request_hash, rules_of(terms)
            ),
        )

    async def expire(self, order: OpenOrder) -> None:
        """Anybody after the deadline of a price that was never moved: it goes back."""
        key = auction_key(order.contract.order.buyer_wallet, order.contract.custom.request_hash)
        await self._send_auction(order, "expire", lambda client: client.expire(key))

    async def submit(self, order: OpenOrder, model_hash: bytes, attempt: int) -> None:
        """Developer: say which model is handed in."""
        await self._send(order, f"submit {attempt}", lambda client, key: client.submit(key, model_hash))

    async def assess(
        self, order: OpenOrder, attempt: int, *, passed: bool, verdicts: Sequence[SignedVerdict]
    ) -> None:
        """Anybody: bring the evaluators' signatures."""
        await self._send(
            order,
            f"assess {attempt}",
            lambda client, key: client.assess(key, passed=passed, verdicts=verdicts),
        )

    async def hand_over(self, order: OpenOrder, sealed_key: bytes) -> None:
        """Developer: hand the key over through the chain."""
        await self._send(order, "hand_over", lambda client, key: client.hand_over(key, sealed_key))

    async def complete(self, order: OpenOrder) -> None:
        """Buyer: accept, the developer is paid."""
        await self._send(order, "complete", lambda client, key: client.complete(key))

    async def claim(self, order: OpenOrder) -> None:
        """Anybody after the review time: the developer is paid."""
        await self._send(order, "claim", lambda client, key: client.claim(key))

    async def refund(self, order: OpenOrder) -> None:
        """Anybody after the deadline of a state without a key: the buyer has the price back."""
        await self._send(order, f"refund {order.state}", lambda client, key: client.refund(key))

    async def cancel(self, order: OpenOrder) -> None:
        """Developer: give the whole price back."""
        await self._send(order, "cancel", lambda client, key: client.cancel(key))

    async def dispute(self, order: OpenOrder, evidence: bytes) -> None:
        """Call the arbiter; the chain keeps the hash of the evidence."""
        await self._send(order, "dispute", lambda client, key: client.dispute(key, evidence))

    async def rule(self, order: OpenOrder, buyer_bps: int) -> None:
        """Arbiter: split the escrow."""
        await self._send(order, "rule", lambda client, key: client.rule(key, buyer_bps))

    async def settle_silent(self, order: OpenOrder) -> None:
        """Anybody after the arbiter's deadline: half each."""
        await self._send(order, "settle_silent", lambda client, key: client.settle_silent(key))

    async def started(self, order: OpenOrder, purpose: str) -> bool:
        """Whether this node has signed a transaction for that purpose, sent or not."""
        return await self.transactions.started(order.order_id, purpose)

    async def is_funded(self, contract: Contract) -> bool:
        """Whether the chain holds, or held, the price under the signed terms."""

        def look() -> bool:
            found = ModelEscrowClient(self.chain).order_by_key(self.key(contract))
            return found.state != "none" and found.matches(
                buyer=contract.order.buyer_wallet,
                terms=model_terms(contract),
                token=self.chain.params.credit,
            )

        return await self.workers.chain(look)

    async def _send(
        self, order: OpenOrder, purpose: str, build: Callable[[ModelEscrowClient, bytes], TxRequest]
    ) -> None:
        check_chain(order, self.chain.params.chain_id)
        client, key = ModelEscrowClient(self.chain), self.key(order.contract)
        await self.transactions.send(purpose, order.order_id, lambda: build(client, key))

    async def _send_auction(
        self, order: OpenOrder, purpose: str, build: Callable[[AuctionClient], TxRequest]
    ) -> None:
        check_chain(order, self.chain.params.chain_id)
        client = AuctionClient(self.chain)
        await self.transactions.send(purpose, order.order_id, lambda: build(client))

    def _look(self, order: OpenOrder) -> ModelView:
        check_chain(order, self.chain.params.chain_id)
        contract, params = order.contract, self.chain.params
        key = self.key(contract)
        mark = first_block.mark(self.chain, order)
        now = ModelEscrowClient(self.chain).order_by_key(key)
        deepest = self.chain.head().number - params.confirmations + 1
        if now.state == "none":
            return self._in_auction(order, deepest, mark)
        wanted = model_terms(contract)
        if not now.matches(buyer=contract.order.buyer_wallet, terms=wanted, token=params.credit):
            raise InvalidOrder("wrong_escrow", "The escrow on chain does not hold what was signed.")
        events = self.chain.events(
            "ModelEscrow",
            [None, "0x" + key.hex()],
            from_block=first_block.first_block(order),
            to_block=deepest,
        )
        times = [self.chain.block(event.block_number).timestamp for event in events]
        return read_steps(contract.custom, list(zip(events, times, strict=True)))

    def _in_auction(self, order: OpenOrder, deepest: int, mark: int | None) -> ModelView:
        contract = order.contract
        key = auction_key(contract.order.buyer_wallet, contract.custom.request_hash)
        if AuctionClient(self.chain).auction(key).state != "expired":
            return ModelView(nothing_before=mark)
        events = self.chain.events(
            "SealedBidAuction",
            [None, "0x" + key.hex()],
            from_block=first_block.first_block(order),
            to_block=deepest,
        )
        return ModelView(
            steps=tuple(
                ModelStep(
                    event="expire",
                    at=self.chain.block(event.block_number).timestamp,
                    tx_hash=event.tx_hash,
                    data={"paid_micro": 0},
                )
                for event in events
                if event.name == "Expired"
            )
        )


def read_steps(terms: CustomTerms, events: list[tuple[Event, int]]) -> ModelView:
    """The steps behind the events of one escrow, each with the time of its block."""
    steps: list[ModelStep] = []
    sealed_key = None
    for event, at in events:
        args, data = event.args, {}
        match event.name:
            case "Funded":
                name = "fund"
            case "Submitted":
                name = "submit"
                data = {"attempt": args["attempt"], "model_hash": bytes(args["modelHash"]).hex()}
            case "Assessed":
                name = "pass" if args["passed"] else "fail"
                reports = [bytes(report).hex() for report in args["reportHashes"]]
                data = {
                    judged_as(args["attempt"]): {
                        "passed": args["passed"],
                        "block": event.block_number,
                        "reports": dict(zip(map(str, args["places"]), reports, strict=True)),
                    }
                }
            case "HandedOver":
                sealed_key, name = bytes(args["sealedKey"]), "hand_over"
                if steps and steps[-1].event.startswith("call_"):
                    continue  # in a dispute it changes no state
            case "Disputed":
                by_seller = str(args["by"]).lower() == str(events[0][0].args["seller"]).lower()
                name = "call_seller" if by_seller else "call_buyer"
                data = {"called_by": "seller" if by_seller else "buyer"}
            case "Settled" if not steps:
                raise ChainError(
                    "gap_in_chain", "The chain shows the end of an escrow but not its beginning.", ""
                )
            case "Settled":
                name = _end(terms, STATES[args["state"]], steps, at)
                data = {"paid_micro": terms.price_micro - int(args["toBuyer"])}
            case _:
                continue
        steps.append(ModelStep(event=name, at=at, tx_hash=event.tx_hash, data=data))
    return ModelView(steps=tuple(steps), sealed_key=sealed_key)


def _end(terms: CustomTerms, state: str, steps: list[ModelStep], at: int) -> str:
    last = steps[-1]
    disputed = last.event.startswith("call_")
    if state == "completed":
        return "claim" if not disputed and at > last.at + terms.review_s else "complete"
    if state == "ruled":
        return "settle_silent" if at > last.at + terms.arbiter_s else "rule"
    reviewed = last.at + terms.review_s
    can_try = sum(step.event == "submit" for step in steps) < terms.tries
    opens = {
        "fund": terms.deliver_by,
        "submit": reviewed + terms.evaluate_s,
        "pass": reviewed,
        "fail": max(reviewed, terms.deliver_by) if can_try else reviewed,
    }.get(last.event)
    return "refund" if opens is not None and at > opens else "cancel"


def rules_of(terms: CustomTerms | RequestBody) -> ModelRules:
    """The rules with which an auction is opened, as the request and its order both name them."""
    return ModelRules(
        arbiter=terms.arbiter,
        deliver_by=terms.deliver_by,
        evaluate_s=terms.evaluate_s,
        review_s=terms.review_s,
        arbiter_s=terms.arbiter_s,
        arbiter_fee_bps=terms.arbiter_fee_bps,
        tries=terms.tries,
        quorum=terms.quorum,
        evaluators=tuple(terms.evaluators),
    )


def model_terms(contract: Contract) -> ModelTerms:
    """What the chain must hold for an order."""
    terms = contract.custom
    return ModelTerms(
        seller=contract.order.seller_wallet, amount_micro=terms.price_micro, rules=rules_of(terms)
    )
