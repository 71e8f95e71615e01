"""How two peers agree: the buyer proposes a signed contract, the seller checks it and signs too.

Protocol `/openstall/order/1`: one canonical JSON request of at most 128 KiB, answered by a signature
or a refusal. Both parties end with the same document and both signatures; the arbiter gets a copy at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders import copies
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.telling import Answer, Ask, Telling, declined, party_of, refusal_in
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.market import canonical
from openstall.market.errors import Conflict, InvalidOrder, NotFound, OpenstallError, PeerError, Refused
from openstall.market.orders.agree import check_proposal, is_patient, may_be_watched, record_named, watchers
from openstall.market.orders.documents import (
    Contract,
    CustomTerms,
    check_signature,
    read_contract,
    sign_contract,
)
from openstall.market.orders.machine import MACHINES, Party
from openstall.market.orders.protocols import NEW, expect
from openstall.market.orders.transcript import MAX_CHAIN, MOST_WORDS
from openstall.market.text import clean
from openstall.p2p.asking import Peers
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.limits import Pace, Rate

PROTOCOL = "/openstall/order/1"
MAX_MESSAGE = 128 * 1024
TIMEOUT_S = 15.0
TELL_S = 5.0
MAX_OPEN_PER_BUYER = 20
COPY_AGAIN_S = 15.0
"""An arbiter who is away is looked for no more often than this."""
MAX_UNPAID = 200
"""Orders without money, from all buyers together: they cost a stranger nothing, and each is watched here."""
MAX_ANSWER = MAX_CHAIN
RATE = Rate(per_s=2, burst=20)
_PASSING = frozenset(
    {
        "too_many_requests",
        "busy",
        "too_many_unpaid",
        "not_paid_yet",
        "too_slow",
        "internal",
        "wallet_locked",
        "evaluates_not",
        "request_unknown",
    }
)
"""Refusals that say nothing about the order: asked again later."""

log = get_logger("openstall.orders")

_NOES = (InvalidOrder, NotFound, Refused, Conflict)
"""What a seller decides; a fault of its disk or of its chain is none, and the buyer asks again."""
_SIDE = {"sale": "seller", "compute": "provider", "custom": "developer"}


class Negotiation:
    """Both sides of the protocol."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        peers: Peers,
        seed: bytes,
        wallet: str,
        chain_id: int,
        network: str,
        catalogue: Catalogue,
        transcripts: TranscriptDesk,
        ready: Callable[[Contract], Awaitable[None]],
        is_funded: Callable[[Contract], Awaitable[bool]],
        on_refused: Callable[[Contract, OpenstallError], Awaitable[None]],
        on_agreed: Callable[[str], None],
        on_cancel: Callable[[OpenOrder], Awaitable[None]],
        evaluates: Callable[[], Awaitable[None]],
    ) -> None:
        """Collaborators.

        Args:
            ready: raises OpenstallError where this node cannot serve the order now.
            is_funded: whether the chain shows the money of an order.
            on_refused: hears of each order that was turned away.
            on_agreed: begins to drive an order.
            on_cancel: ends the job of an order.
            evaluates: raises Refused where this node measures no models for others.
        """
        self._desk = desk
        self._peers = peers
        self._seed = seed
        self._wallet = wallet
        self._chain_id = chain_id
        self._network = network
        self._catalogue = catalogue
        self._ready = ready
        self._is_funded = is_funded
        self._on_refused = on_refused
        self._on_agreed = on_agreed
        self.transcripts = transcripts
        self.telling = Telling(desk=desk, transcripts=transcripts, on_cancel=on_cancel)
        self._evaluates = evaluates
        self._admitting = trio.Lock()
        self._copy_at: dict[str, float] = {}
        self._pace = Pace(RATE)

    def serve(self) -> None:
        """Answer other peers from now on."""
        self._peers.serve(
            PROTOCOL, self._answer, max_request=MAX_MESSAGE, max_response=MAX_ANSWER, per_peer_rate=RATE
        )

    async def propose(self, order: OpenOrder) -> None:
        """Ask the seller to sign; the order becomes agreed, declined or lapsed.

        Raises:
            PeerError: the seller cannot be reached now.
            Refused: it has not signed, and has not signed that it will not: it is asked again.
        """
        terms = order.contract.terms
        late = not isinstance(terms, CustomTerms) and self._desk.now() > terms.fund_by
        if late and not await self._is_funded(order.contract):
            await self._desk.advance(order, "lapse", actor="clock", words="The seller did not sign in time.")
            return
        answer = await self._ask(
            order.other,
            {
                "do": "propose",
                "order": msgspec.to_builtins(order.contract.order),
                "buyer_signature": order.buyer_signature,
            },
        )
        if answer.entries and not isinstance(terms, CustomTerms):  # there the bid binds the developer
            await self._declined(order, answer)
            return
        await self.signed(order, answer.signature)

    async def signed(self, order: OpenOrder, signature: str) -> None:
        """The seller's signature has come, by whatever way; InvalidOrder where it is none."""
        check_signature(order.contract, "seller", signature)
        if order.state != MACHINES[order.kind].first:
            await self._desk.keep_signature(order, signature)
            return
        await self._desk.advance(
            order,
            "agree",
            actor="other",
            words=f"The {_SIDE[order.kind]} signed the contract.",
            seller_signature=signature,
        )

    async def _declined(self, order: OpenOrder, answer: Answer) -> None:
        """The seller has signed that it will not."""
        chain = await self.transcripts.take(order.contract, order.other, answer.entries)
        if chain[-1].entry.kind != "decline":
            raise InvalidOrder("bad_message", "The seller answered a proposal with something else.")
        error = refusal_in(chain[-1])
        await self._desk.advance(
            order,
            "decline",
            actor="other",
            words=f"Not agreed: {error.message}",
            data={"fault": error.as_dict()},
        )

    async def copy_to_others(self, order: OpenOrder) -> None:
        """Give arbiter and evaluators the signed contract, once each; who is away gets it later."""
        for wallet in watchers(order.contract):
            if wallet != self._wallet.lower() and wallet not in order.data.get("has_copy", []):
                await self._copy_to(order, wallet)

    async def _copy_to(self, order: OpenOrder, wallet: str) -> None:
        message = {
            "do": "copy",
            "order": msgspec.to_builtins(order.contract.order),
            "buyer_signature": order.buyer_signature,
            "seller_signature": order.seller_signature,
        }
        if await self._send_once(order, wallet, f"copy {order.order_id} {wallet}", message):
            have = (await self._desk.load(order.order_id)).data.get("has_copy", [])
            await self._desk.patch(order.order_id, has_copy=sorted({*have, wallet}))

    async def tell_reason(self, order: OpenOrder) -> None:
        """Give the arbiter the reason, once; again while it is away. Its evidence has it with a signature."""
        reason = str(order.data.get("dispute_reason", ""))
        if not reason or order.data.get("reason_told"):
            return
        said = await self.transcripts.say(
            order.contract, "reason", words=clean(reason[:MOST_WORDS], lines=True)
        )
        message = {"do": "tell", "order_id": order.order_id, "entries": said}
        if await self._send_once(order, order.contract.arbiter, f"reason {order.order_id}", message):
            await self._desk.patch(order.order_id, reason_told=True)

    async def _send_once(self, order: OpenOrder, wallet: str, key: str, message: dict[str, Any]) -> bool:
        """Whether the peer of a wallet has the message, or considered it and said no; not too often."""
        now = trio.current_time()
        if now < self._copy_at.get(key, 0.0):
            return False
        self._copy_at[key] = now + COPY_AGAIN_S
        peer_id = await self._catalogue.peer_of(wallet)
        if peer_id is None:
            return False
        try:
            await self._ask(peer_id, message)
        except PeerError as error:
            self._desk.set_trouble(order.order_id, error)
            return False
        except Refused as error:
            self._desk.set_trouble(order.order_id, error)
            if message["do"] == "tell":
                return False
        self._copy_at.pop(key, None)
        return True

    async def cancel_job(self, order: OpenOrder) -> None:
        """Ask the provider to end the job now."""
        said = await self.transcripts.say(order.contract, "cancel")
        await self._ask(order.other, {"do": "tell", "order_id": order.order_id, "entries": said})

    async def step_back(self, order: OpenOrder, words: str) -> OpenOrder:
        """The buyer leaves an order that it has not paid; a seller that is away for long lets it lapse."""
        said = await self.transcripts.say(order.contract, "withdraw")
        order = await self._desk.advance(order, "withdraw", actor="you", words=words)
        with trio.move_on_after(TELL_S):
            try:
                await self._ask(order.other, {"do": "tell", "order_id": order.order_id, "entries": said})
            except (PeerError, Refused) as error:
                log.info("seller not told", order=order.order_id, code=error.code)
        return order

    async def _ask(self, peer_id: str, message: dict[str, Any]) -> Answer:
        """The answer; Refused where the other peer considered the message and said no."""
        await self._pace.turn(peer_id)
        try:
            raw = await self._peers.request(
                peer_id, PROTOCOL, canonical.encode(message), timeout_s=TIMEOUT_S, max_response=MAX_ANSWER
            )
        except RefusedByPeer as error:
            if error.code in _PASSING:
                raise
            raise Refused(error.code, error.message or "The other peer refused.", error.what_next) from error
        return Answer.read(raw)

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        try:
            ask = msgspec.convert(canonical.decode(raw, max_bytes=MAX_MESSAGE), Ask)
        except msgspec.ValidationError as error:
            raise InvalidOrder("bad_message", f"The message does not fit its schema: {error}.") from error
        return (await self._handle(peer_id, ask)).raw()

    async def _handle(self, peer_id: str, ask: Ask) -> Answer:
        match ask.do:
            case "propose":
                return await self._consider(
                    peer_id, read_contract(canonical.encode(ask.order)), ask.buyer_signature
                )
            case "copy":
                copied = read_contract(canonical.encode(ask.order))
                await self.keep_copy(peer_id, copied, ask.buyer_signature, ask.seller_signature)
                return Answer()
            case "tell":
                await self.telling.take(peer_id, ask.order_id, ask.entries)
                return Answer()
            case _:
                raise InvalidOrder("bad_message", "The message asks for something unknown.")

    async def _consider(self, peer_id: str, contract: Contract, signature: str) -> Answer:
        if contract.order.buyer != peer_id:
            raise InvalidOrder("not_the_buyer", "Only the buyer can propose its order.")
        check_signature(contract, "buyer", signature)
        known = await self._desk.find(contract.order_id)
        state = NEW if known is None else known.state
        kind = contract.order.kind
        expect("order", "propose", kind=kind, sender="buyer", receiver="seller", state=state)
        if known is not None and known.role == "seller" and known.seller_signature:
            return Answer(signature=known.seller_signature)
        async with self._admitting:  # two proposals at once must not both get the last place
            try:
                return Answer(signature=await self._admit(contract, signature))
            except OpenstallError as error:
                await self._on_refused(contract, error)
                if kind == "custom" or error.code in _PASSING or not isinstance(error, _NOES):
                    raise
                return declined(contract, error, author=self._peers.peer_id, seed=self._seed)

    async def _admit(self, contract: Contract, signature: str) -> str:
        """Check a proposal against what is on sale, and sign it."""
        if contract.order.kind != "custom":  # what is ordered there was laid down by the buyer: see `ready`
            record = await self._catalogue.live_record(record_named(contract))
            check_proposal(contract, record, wallet=self._wallet, now=self._desk.now())
        self._check_group(contract)
        if contract.order.seller != self._peers.peer_id:
            raise InvalidOrder("not_my_order", "The order is addressed to another seller.")
        most = MAX_UNPAID // 2 if is_patient(contract, self._desk.now()) else MAX_UNPAID
        if await self._desk.count_unpaid("seller") >= most:
            raise Refused("too_many_unpaid", "Too many unpaid orders are open here.", "Try again later.")
        if await self._desk.count_open(contract.order.buyer) >= MAX_OPEN_PER_BUYER:
            raise Refused(
                "too_many", "This buyer has too many open orders here.", "Finish some of them first."
            )
        await self._ready(contract)
        mine = sign_contract(contract, self._seed)
        order = await self._desk.create(
            contract,
            role="seller",
            buyer_signature=signature,
            words="A buyer proposed the order.",
            actor="other",
        )
        if order.state == MACHINES[order.kind].first:
            await self._desk.advance(
                order,
                "agree",
                actor="you",
                words="Signed: it matches what you offered.",
                seller_signature=mine,
            )
        self._on_agreed(contract.order_id)
        return mine

    def _check_group(self, contract: Contract) -> None:
        if contract.order.chain_id != self._chain_id or contract.order.network != self._network:
            raise InvalidOrder("other_network", "The order belongs to another group.")

    async def keep_copy(
        self, peer_id: str, contract: Contract, buyer_signature: str, seller_signature: str
    ) -> None:
        """As arbiter or evaluator: take up the signed contract that a party brings; see `copies`.

        Raises:
            Refused, InvalidOrder: it is not one to watch, or not signed by those who must.
        """
        me = self._wallet.lower()
        if me not in watchers(contract):
            raise Refused("not_a_watcher", "This peer is neither arbiter nor evaluator of that order.")
        role: Party = "arbiter" if me == contract.arbiter.lower() else "evaluator"
        sender = party_of(contract, peer_id)
        if sender is None:
            raise Refused("not_a_party", "Only a party can hand over an order.")
        await copies.check(
            contract,
            role=role,
            buyer_signature=buyer_signature,
            seller_signature=seller_signature,
            catalogue=self._catalogue,
            now=self._desk.now(),
        )
        self._check_group(contract)
        known = await self._desk.find(contract.order_id)
        state, kind = NEW if known is None else known.state, contract.order.kind
        expect("order", "copy", kind=kind, sender=sender, receiver=role, state=state)
        if known is not None:
            if seller_signature:
                await self._desk.keep_signature(known, seller_signature)
            return
        await copies.refuse_twins(contract, self._desk, both_signed=bool(seller_signature))
        if not may_be_watched(contract, self._desk.now()):
            raise Refused("bad_times", "This order is not one to watch now.")
        if not await self._is_funded(contract):  # else a stranger could fill the arbiter's books for nothing
            raise Refused(
                "not_paid_yet", "The chain does not show the money of this order yet.", "Send it again later."
            )
        if role == "evaluator":
            await self._evaluates()
            await copies.refuse_crowd(contract, self._desk)
        order = await self._desk.create(
            contract,
            role=role,
            buyer_signature=buyer_signature,
            seller_signature=seller_signature,
            words=f"You are {'the arbiter' if role == 'arbiter' else 'an evaluator'} of this order.",
            actor="other",
        )
        if order.state == MACHINES[order.kind].first:
            await self._desk.advance(
                order,
                "agree",
                actor="other",
                words="Both parties signed the contract."
                if seller_signature
                else "The developer who won has not signed, but is bound by its bid.",
                seller_signature=seller_signature,
            )
        self._on_agreed(contract.order_id)
