"""How two peers agree: the buyer proposes a signed contract, the seller checks it and signs too.

Protocol `/openstall/order/1`: one canonical JSON request of at most 128 KiB, answered by a signature
or a refusal. Both parties end with the same document and both signatures; the arbiter gets a copy at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders import copies
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, NotFound, OpenstallError, PeerError, Refused
from openstall.market.orders.agree import check_proposal, may_be_watched, record_named, watchers
from openstall.market.orders.documents import (
    Contract,
    CustomTerms,
    check_signature,
    read_contract,
    sign_contract,
)
from openstall.market.orders.machine import MACHINES, Party
from openstall.market.text import clean
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate

PROTOCOL = "/openstall/order/1"
MAX_MESSAGE = 128 * 1024
TIMEOUT_S = 15.0
MAX_OPEN_PER_BUYER = 20
COPY_AGAIN_S = 15.0
"""An arbiter who is away is looked for no more often than this."""
MAX_UNPAID = 200
"""Orders without money, from all buyers together: they cost a stranger nothing, and each is watched here."""
MAX_ANSWER = 200
MAX_REASON_CHARS = 2000
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

_SIDE = {"sale": "seller", "compute": "provider", "custom": "developer"}


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request: `propose` (the buyer signs), `copy` (both signed), `reason` (of a dispute), `cancel_job`."""

    do: str
    order: dict[str, Any] = {}
    order_id: str = ""
    buyer_signature: str = ""
    seller_signature: str = ""
    reason: str = ""


def reason_of(order: OpenOrder, side: str, reason: str) -> dict[str, str]:
    """What an arbiter's books keep of a party's words: they are the dispute's if that party has called.

    The first words of each side count. Where either may call, the chain says who did.
    """
    first = order.data.get(f"reason_{side}", reason)
    called = order.kind != "custom" or order.data.get("called_by") == side
    return {f"reason_{side}": first} | ({"dispute_reason": first} if called else {})


class Negotiation:
    """Both sides of the protocol."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        peers: PeerHost,
        seed: bytes,
        wallet: str,
        chain_id: int,
        network: str,
        catalogue: Catalogue,
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
        self._on_cancel = on_cancel
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
        """
        terms = order.contract.terms
        if not isinstance(terms, CustomTerms) and self._desk.now() > terms.fund_by:
            await self._desk.advance(order, "lapse", actor="clock", words="The seller did not sign in time.")
            return
        try:
            signature = await self._ask(
                order.other,
                {
                    "do": "propose",
                    "order": msgspec.to_builtins(order.contract.order),
                    "buyer_signature": order.buyer_signature,
                },
            )
            check_signature(order.contract, "seller", signature)
        except Refused as error:
            if isinstance(terms, CustomTerms):
                raise  # the bid binds the developer; it is asked again
            await self._desk.advance(
                order,
                "decline",
                actor="other",
                words=f"Not agreed: {error.message}",
                data={"fault": error.as_dict()},
            )
            return
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
        message = {"do": "reason", "order_id": order.order_id, "reason": reason}
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
            if message["do"] == "reason":
                return False
        self._copy_at.pop(key, None)
        return True

    async def cancel_job(self, order: OpenOrder) -> None:
        """Ask the provider to end the job now."""
        await self._ask(order.other, {"do": "cancel_job", "order_id": order.order_id})

    async def _ask(self, peer_id: str, message: dict[str, Any]) -> str:
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
        return raw.decode("ascii", errors="replace")

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        try:
            ask = msgspec.convert(canonical.decode(raw, max_bytes=MAX_MESSAGE), _Ask)
        except msgspec.ValidationError as error:
            raise InvalidOrder("bad_message", f"The message does not fit its schema: {error}.") from error
        return (await self._handle(peer_id, ask)).encode()

    async def _handle(self, peer_id: str, ask: _Ask) -> str:
        match ask.do:
            case "propose":
                return await self._consider(
                    peer_id, read_contract(canonical.encode(ask.order)), ask.buyer_signature
                )
            case "copy":
                await self._keep_copy(peer_id, read_contract(canonical.encode(ask.order)), ask)
                return ""
            case "reason":
                order = await self._disputed(peer_id, ask.order_id)
                side = "buyer" if peer_id == order.contract.order.buyer else "seller"
                reason = clean(ask.reason[:MAX_REASON_CHARS], lines=True)
                await self._desk.patch(order.order_id, **reason_of(order, side, reason))
                return ""
            case "cancel_job":
                await self._on_cancel(await self._order_of(peer_id, ask.order_id, "seller"))
                return ""
            case _:
                raise InvalidOrder("bad_message", "The message asks for something unknown.")

    async def _order_of(self, buyer: str, order_id: str, role: Party) -> OpenOrder:
        """The order of this buyer in which this node has the role; anything else does not exist for it."""
        order = await self._desk.find(order_id)
        if order is None or order.contract.order.buyer != buyer or order.role != role:
            raise NotFound("no_such_order", "There is no such order.")
        return order

    async def _disputed(self, peer_id: str, order_id: str) -> OpenOrder:
        """An order in which this node is the arbiter, of a party that may call it."""
        order = await self._desk.find(order_id)
        parties = set() if order is None else {order.contract.order.buyer}
        if order is not None and order.kind == "custom":
            parties.add(order.contract.order.seller)
        if order is None or order.role != "arbiter" or peer_id not in parties:
            raise NotFound("no_such_order", "There is no such order.")
        return order

    async def _consider(self, peer_id: str, contract: Contract, signature: str) -> str:
        if contract.order.buyer != peer_id:
            raise InvalidOrder("not_the_buyer", "Only the buyer can propose its order.")
        check_signature(contract, "buyer", signature)
        known = await self._desk.find(contract.order_id)
        if known is not None and known.role == "seller" and known.seller_signature:
            return known.seller_signature
        async with self._admitting:  # two proposals at once must not both get the last place
            try:
                return await self._admit(contract, signature)
            except OpenstallError as error:
                await self._on_refused(contract, error)
                raise

    async def _admit(self, contract: Contract, signature: str) -> str:
        """Check a proposal against what is on sale, and sign it."""
        if contract.order.kind != "custom":  # what is ordered there was laid down by the buyer: see `ready`
            record = await self._catalogue.live_record(record_named(contract))
            check_proposal(contract, record, wallet=self._wallet, now=self._desk.now())
        self._check_group(contract)
        if contract.order.seller != self._peers.peer_id:
            raise InvalidOrder("not_my_order", "The order is addressed to another seller.")
        if await self._desk.count_unpaid("seller") >= MAX_UNPAID:
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

    async def _keep_copy(self, peer_id: str, contract: Contract, ask: _Ask) -> None:
        me = self._wallet.lower()
        if me not in watchers(contract):
            raise Refused("not_a_watcher", "This peer is neither arbiter nor evaluator of that order.")
        role: Party = "arbiter" if me == contract.arbiter.lower() else "evaluator"
        if peer_id not in (contract.order.buyer, contract.order.seller):
            raise Refused("not_a_party", "Only a party can hand over an order.")
        await copies.check(
            contract,
            role=role,
            buyer_signature=ask.buyer_signature,
            seller_signature=ask.seller_signature,
            catalogue=self._catalogue,
            now=self._desk.now(),
        )
        self._check_group(contract)
        known = await self._desk.find(contract.order_id)
        if known is not None:
            if ask.seller_signature:
                await self._desk.keep_signature(known, ask.seller_signature)
            return
        await copies.refuse_twins(contract, self._desk, both_signed=bool(ask.seller_signature))
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
            buyer_signature=ask.buyer_signature,
            seller_signature=ask.seller_signature,
            words=f"You are {'the arbiter' if role == 'arbiter' else 'an evaluator'} of this order.",
            actor="other",
        )
        if order.state == MACHINES[order.kind].first:
            await self._desk.advance(
                order,
                "agree",
                actor="other",
                words="Both parties signed the contract."
                if ask.seller_signature
                else "The developer who won has not signed, but is bound by its bid.",
                seller_signature=ask.seller_signature,
            )
        self._on_agreed(contract.order_id)
