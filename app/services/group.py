"""The group that this node belongs to, and its chain: hosted here, at another peer, or a public one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.operations import Progress
from openstall.app.paths import Home
from openstall.app.services.chain_code import check_contracts
from openstall.app.services.chain_hosting import Hosted
from openstall.app.services.gateway import Gateway, HeadBoard, MemberTransport
from openstall.app.services.membership import Line, Membership
from openstall.app.services.network import NetworkService
from openstall.app.threads import Workers
from openstall.ledger.chain import Block, Chain, ChainParams, identify
from openstall.ledger.hosting import ChainHost, open_host
from openstall.ledger.invitation import Invitation, invite, read_invitation, write_invitation
from openstall.ledger.transport import HttpTransport, Transport
from openstall.market.errors import ChainError, Conflict, OpenstallError, Refused
from openstall.store.settings import Settings

MAX_NAME_CHARS = 60
PUBLIC_POLL_S = 4.0
RETRY_S = 1.0
VERIFY_S = 20.0
_GROUP = "group"
_HEAD = "group.head"

log = get_logger("openstall.group")


class GroupService:
    """Creates, joins and keeps up the connection to the chain. Call from the trio thread."""

    def __init__(
        self,
        *,
        home: Home,
        settings: Settings,
        workers: Workers,
        bus: EventBus,
        network: NetworkService,
        on_joined: Callable[[], None],
    ) -> None:
        """`on_joined` is called after the membership has changed."""
        self._on_joined = on_joined
        self._home = home
        self._settings = settings
        self._workers = workers
        self._bus = bus
        self._network = network
        self._board = HeadBoard()
        self._gateway = Gateway(workers=workers, board=self._board)
        self._membership: Membership | None = None
        self._chain: Chain | None = None
        self._line = Line()
        self._fresh_host: ChainHost | None = None
        self.trouble: dict[str, str] | None = None
        """What a person must know of the group of an earlier run."""
        self._joining = False
        self._written = trio.Event()
        self._listeners: list[Callable[[int], None]] = []
        network.offer(self._gateway.serve)

    @property
    def membership(self) -> Membership:
        """The joined group; Conflict where there is none."""
        if self._membership is None:
            raise Conflict(
                "no_group", "This node belongs to no group yet.", "Create one, or join by an invitation."
            )
        return self._membership

    @property
    def joined(self) -> bool:
        """Whether there is a group."""
        return self._membership is not None

    @property
    def chain(self) -> Chain:
        """The chain of the group, one object for as long as the node runs; Conflict without a group.

        Its calls raise ChainError while the chain is away.
        """
        if self._chain is None:
            _ = self.membership
            raise RuntimeError("a membership without a chain")
        return self._chain

    @property
    def host_peer(self) -> str | None:
        """The peer that hosts the group's chain, where one does."""
        return None if self._membership is None else self._host_peer(self._membership)

    @property
    def reachable(self) -> bool:
        """Whether the chain answered when it was last needed."""
        return self._line.transport is not None

    @property
    def height(self) -> int:
        """Number of the newest known block; -1 before the first."""
        return self._board.number

    def on_head(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener` in the trio thread with each new height; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def load(self) -> None:
        """Read the membership of an earlier run."""
        kept = await self._workers.store(self._settings.get, _GROUP)
        if kept is None:
            return
        membership = Membership(**{**kept, "params": ChainParams(**kept["params"])})
        if membership.state == "hosting" and not membership.durable:
            log.warning("the group lived in memory only and is gone", group=membership.params.name)
            self.trouble = OpenstallError(
                "group_gone",
                f"The group “{membership.params.name}” lived in memory only and ended with the last run.",
                "`python3 dev.py setup` brings the anvil program; with it a new group is saved.",
            ).as_dict()
            await self._workers.store(self._settings.remove, _GROUP)
            return
        highest = await self._workers.store(self._settings.get, _HEAD)
        self._set(membership, Block(**highest) if highest else None)

    def _set(self, membership: Membership, highest: Block | None) -> None:
        self._membership = membership
        self._chain = Chain(
            membership.params,
            self._line,
            highest=highest,
            on_head=lambda block: self._settings.set(_HEAD, asdict(block)),
        )
        self._network.belong(membership.network)

    # Part of the node

    async def run(self, ready: Callable[[], None]) -> None:
        """The node's part `chain`: off without a group."""
        membership = self._membership
        if membership is None:
            return
        chain = self.chain
        async with self._transport(membership) as transport:
            self._line.transport = transport
            try:
                if isinstance(transport, MemberTransport):
                    await self._network.wait_up()
                    await self._reach_host(membership)
                await self._workers.chain(chain.verify)
                self._grown((await self._workers.chain(chain.head)).number)
                ready()
                await self._follow(membership, chain, transport)
            finally:
                self._line.transport = None

    @asynccontextmanager
    async def _transport(self, membership: Membership) -> AsyncIterator[Transport]:
        token = trio.lowlevel.current_trio_token()
        if membership.state == "member":
            peer_id = read_invitation(membership.invitation).host_peer
            yield MemberTransport(find_host=lambda: self._network.host, peer_id=peer_id, token=token)
        elif membership.state == "public":
            http = HttpTransport(membership.rpc_url)
            try:
                yield http
            finally:
                http.close()
        else:
            host, self._fresh_host = self._fresh_host, None
            if host is None:
                host = open_host(self._home.chain)
                await self._workers.chain(host.start)
            hosted = Hosted(host, token=token, on_write=self._after_write)
            self._gateway.host = hosted
            try:
                yield hosted.handle
            finally:
                self._gateway.host = None
                with trio.CancelScope(shield=True):
                    await self._workers.chain(host.stop)

    async def _follow(self, membership: Membership, chain: Chain, transport: Transport) -> None:
        """Notice new blocks for as long as the part runs; the chain being away for a while is no end."""
        while True:
            try:
                if isinstance(transport, MemberTransport):
                    await transport.await_head(self._board.number)
                elif membership.state == "hosting":
                    await self._written.wait()
                    self._written = trio.Event()
                else:
                    await trio.sleep(PUBLIC_POLL_S)
                self._grown((await self._workers.chain(chain.head)).number)
            except ChainError as error:
                if error.code in ("chain_shrank", "chain_rewritten", "wrong_chain"):
                    raise
                log.info("chain away", code=error.code)
                await trio.sleep(RETRY_S)

    async def _reach_host(self, membership: Membership) -> None:
        invitation = read_invitation(membership.invitation)
        await self._network.reach(invitation.host_peer, _full_addrs(invitation))

    def _after_write(self) -> None:
        self._written.set()

    def _grown(self, number: int) -> None:
        if number <= self._board.number:
            return
        self._board.grow(number)
        self._bus.publish("wallet", {"height": number})
        for listener in tuple(self._listeners):
            listener(number)

    # What a person asks for

    async def create(self, name: str, progress: Progress) -> dict[str, Any]:
        """Host a new group with its own chain."""
        clean = " ".join(name.split())
        if not 1 <= len(clean) <= MAX_NAME_CHARS or not clean.isprintable():
            raise Refused("bad_name", f"A name has 1 to {MAX_NAME_CHARS} printable characters.")
        async with self._only_one():
            progress("Making the group's chain and its contracts")
            host = open_host(self._home.chain)
            params = await self._workers.chain(host.create, clean)
            self._fresh_host = host
            await self._adopt(Membership(state="hosting", params=params, durable=host.durable))
            progress("Opening the group")
            await self._wait_chain()
        return await self.as_dict()

    async def join(self, text: str, progress: Progress) -> dict[str, Any]:
        """Join by an invitation: the host must be reached, and its chain be the one of the invitation."""
        invitation = read_invitation(text)
        async with self._only_one():
            progress("Looking for the host of the group")
            host = await self._network.wait_up()
            if invitation.host_peer == host.peer_id:
                raise Conflict("own_group", "This invitation is your own.", "Give it to somebody else.")
            await self._network.reach(invitation.host_peer, _full_addrs(invitation))
            progress("Checking the group's chain")
            transport = MemberTransport(
                find_host=lambda: self._network.host,
                peer_id=invitation.host_peer,
                token=trio.lowlevel.current_trio_token(),
            )
            params = invitation.params()
            await self._workers.chain(_verify, params, transport)
            await self._adopt(
                Membership(state="member", params=params, invitation=write_invitation(invitation))
            )
            await self._wait_chain()
        return await self.as_dict()

    async def use_public(
        self,
        *,
        rpc_url: str,
        credit: str,
        escrow: str,
        channel: str,
        confirmations: int,
        first_block: int = 0,
        bond: str = "",
        auction: str = "",
        model_escrow: str = "",
        contest: str = "",
    ) -> dict[str, Any]:
        """Use a chain that already exists, with any ERC-20 as its credit."""
        async with self._only_one():
            transport = HttpTransport(rpc_url)
            try:
                chain_id, genesis = await self._workers.chain(identify, transport)
                params = ChainParams(
                    chain_id=chain_id,
                    genesis_hash=genesis,
                    name=f"Public chain {chain_id}",
                    credit=credit,
                    escrow=escrow,
                    channel=channel,
                    bond=bond,
                    auction=auction,
                    model_escrow=model_escrow,
                    contest=contest,
                    kind="public",
                    confirmations=confirmations,
                    first_block=first_block,
                )
                await self._workers.chain(_verify, params, transport)
            finally:
                transport.close()
            await self._adopt(Membership(state="public", params=params, rpc_url=rpc_url))
            await self._wait_chain()
        return await self.as_dict()

    async def as_dict(self) -> dict[str, Any]:
        """The group as the local API shows it."""
        membership = self._membership
        if membership is None:
            return {**self.brief(), "invitation": None, "height": None, "host_peer": None, "durable": None}
        return {
            **self.brief(),
            "invitation": self._invitation(membership),
            "height": self._board.number if self._board.number >= 0 else None,
            "host_peer": self._host_peer(membership),
            "durable": membership.durable,
            "reachable": self.reachable,
            "contracts": {
                "credit": membership.params.credit,
                "escrow": membership.params.escrow,
                "channel": membership.params.channel,
                "bond": membership.params.bond or None,
                "auction": membership.params.auction or None,
                "model_escrow": membership.params.model_escrow or None,
                "contest": membership.params.contest or None,
            },
        }

    def whose(self) -> tuple[str, str | None] | None:
        """The network of the group, and the peer that hosts its chain if any; None without a group."""
        found = self._membership
        return None if found is None else (found.network, self._host_peer(found))

    def brief(self) -> dict[str, Any]:
        """The group as the status shows it."""
        membership = self._membership
        if membership is None:
            return {"state": "none", "name": None, "chain_id": None, "network": None, "banner": None}
        return {
            "state": membership.state,
            "name": membership.params.name,
            "chain_id": membership.params.chain_id,
            "network": membership.network,
            "banner": membership.banner,
        }

    def _invitation(self, membership: Membership) -> str | None:
        if membership.state != "hosting":
            return membership.invitation or None
        addrs = self._network.addrs
        if not addrs:
            return None
        return write_invitation(invite(membership.params, host_peer=self._network.host.peer_id, addrs=addrs))

    def _host_peer(self, membership: Membership) -> str | None:
        if membership.state == "member":
            return read_invitation(membership.invitation).host_peer
        return self._network.host.peer_id if membership.state == "hosting" and self._network.addrs else None

    @asynccontextmanager
    async def _only_one(self) -> AsyncIterator[None]:
        if self._membership is not None or self._joining:
            raise Conflict(
                "in_group",
                "This node belongs to a group already.",
                "Use another home folder for another group.",
            )
        self._joining = True
        try:
            yield
        finally:
            self._joining = False

    async def _adopt(self, membership: Membership) -> None:
        kept = {**asdict(membership), "params": asdict(membership.params)}
        await self._workers.store(self._settings.remove, _HEAD)
        await self._workers.store(self._settings.set, _GROUP, kept)
        self._set(membership, None)
        await self._network.introduce()
        log.info("joined", state=membership.state, network=membership.network)
        self._on_joined()
        self._bus.publish("status", {"part": "group"})

    async def _wait_chain(self) -> None:
        """Until the chain answers; on failure the part goes on trying, and the status says why."""
        await self._board.beyond(-1, timeout_s=VERIFY_S)


def _verify(params: ChainParams, transport: Transport) -> None:
    chain = Chain(params, transport)
    chain.verify()
    check_contracts(chain)


def _full_addrs(invitation: Invitation) -> list[str]:
    suffix = f"/p2p/{invitation.host_peer}"
    return [addr if addr.endswith(suffix) else addr + suffix for addr in invitation.addrs]
