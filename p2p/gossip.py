"""Gossipsub for small announcements, with the workarounds that py-libp2p 0.8.1 needs.

1. A message that cannot be parsed or validated raises inside a service task and ends the service.
   `NodePubsub` drops it and tells who sent it.
2. RPC lengths are read byte by byte, each read answered by an encrypted window update: 7 of 11 ms
   per message. `NodePubsub` reads ahead.
3. Every RPC carries a signed peer record that every receiver verifies. None is sent or read here.
4. A validation failure is remembered for five minutes, so that one peer who withholds a record
   would silence the others who have it. Nothing is remembered.
5. `IDONTWANT` (gossipsub 1.2) is sent for every message of any size; 1.1 is offered.
6. Messages above ten a second are dropped without a word, our own too. Announcements are hints;
   the sync is what guarantees delivery, and `Rate` bounds what a peer may send.

Messages are signed (StrictSign): py-libp2p numbers those too that it does not sign; other makes refuse these.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetStream, ISubscriptionAPI
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub import gossipsub, pubsub
from libp2p.pubsub.pb import rpc_pb2

from openstall.p2p.engine import BaseLibp2pError, BasicHost, background_trio_service  # isort: skip - before libp2p itself
from openstall.p2p.limits import Rate, RateBudget

MAX_MESSAGE = 2048
MAX_RPC = 64 * 1024
RATE = Rate(per_s=20, burst=400)
_READ = 16 * 1024

Validator = Callable[[str, bytes], Awaitable[bool]]
Penalise = Callable[[str, float, str], None]

log = logging.getLogger("openstall.p2p")


class NodePubsub(pubsub.Pubsub):
    """Pubsub that survives what strangers send."""

    penalise: Penalise
    budget: RateBudget

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check, deliver and forward one message; never raises for a stranger's message."""
        sender = str(msg_forwarder)
        if msg_forwarder != self.my_id:
            if len(msg.data) > MAX_MESSAGE or not msg.from_id or len(msg.topicIDs) != 1:
                self.penalise(sender, 10.0, "bad_announcement")
                return
            if not self.budget.take(sender):
                self.penalise(sender, 0.5, "announcement_flood")
                return
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:  # noqa: BLE001 - whatever a stranger sends, the service goes on
            log.debug("gossip from %s dropped: %r", sender, error)

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Read RPCs from a peer until it leaves."""
        peer_id = stream.muxed_conn.peer_id
        ahead = bytearray()
        try:
            while True:
                size, start = _length(ahead)
                if size > MAX_RPC:
                    self.penalise(str(peer_id), 20.0, "frame_too_large")
                    break
                if start and len(ahead) >= start + size:
                    await self._take(peer_id, bytes(ahead[start : start + size]))
                    del ahead[: start + size]
                    continue
                data = await stream.read(_READ)
                if not data:
                    break
                ahead += data
        except (BaseLibp2pError, DecodeError, ValueError) as error:
            log.debug("gossip stream of %s ended: %r", peer_id, error)
        await stream.reset()

    async def _take(self, peer_id: ID, raw: bytes) -> None:
        rpc = rpc_pb2.RPC()
        rpc.ParseFromString(raw)
        for message in rpc.publish:
            if self._is_subscribed_to_msg(message) and self.manager.is_running:
                self.manager.run_task(self.push_msg, peer_id, message)
        for change in rpc.subscriptions[: self.max_subscriptions_per_rpc]:
            self.handle_subscription(peer_id, change)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer_id)


def _length(ahead: bytearray) -> tuple[int, int]:
    """The announced size and where the body starts; (0, 0) while the prefix is incomplete."""
    value = 0
    for index, byte in enumerate(ahead[:5]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    if len(ahead) >= 5:
        raise ValueError("the length prefix does not end")
    return 0, 0


def _no_peer_record(_: object) -> tuple[bytes, bool]:
    return b"", False


def _content_id(message: rpc_pb2.Message) -> bytes:
    return hashlib.sha256(message.data).digest()


class Topic:
    """One gossip topic while it is open."""

    def __init__(self, service: NodePubsub, name: str) -> None:
        self._service = service
        self.name = name

    async def publish(self, data: bytes) -> None:
        """Send to the topic's mesh; nobody confirms."""
        await self._service.publish(self.name, data)

    def audience(self) -> int:
        """How many connected peers are known to listen."""
        return len(self._service.peer_topics.get(self.name, ()))


@asynccontextmanager
async def open_topic(
    host: BasicHost, name: str, *, validate: Validator, penalise: Penalise
) -> AsyncIterator[Topic]:
    """Take part in a topic for the time of a block.

    `validate(peer id of the forwarder, data)` decides whether a message is passed on; it runs before
    the message reaches anybody else, and may take some seconds.
    """
    router = gossipsub.GossipSub(
        protocols=[TProtocol(one) for one in ("/meshsub/1.1.0", "/meshsub/1.0.0")],
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=1,
        max_messages_per_topic_per_second=200.0,
    )
    service = NodePubsub(
        host,
        router,
        strict_signing=True,
        msg_id_constructor=_content_id,
        cache_size=4096,
        max_concurrent_validator_count=32,
        validation_cache_ttl=-1,
        validation_timeout=10.0,
        max_inbound_rpc_size=MAX_RPC,
        allowed_topics={name},
    )
    service.penalise = penalise
    service.budget = RateBudget(RATE)

    async def check(forwarder: ID, message: rpc_pb2.Message) -> bool:
        return forwarder == service.my_id or await validate(str(forwarder), message.data)

    service.set_topic_validator(name, check, is_async_validator=True)
    async with background_trio_service(service), background_trio_service(router):
        with trio.fail_after(10):
            await service.wait_until_ready()
        subscription = await service.subscribe(name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, subscription)
            for peer_id in list(host.get_network().connections):
                nursery.start_soon(service.ensure_peer_stream, peer_id)
            yield Topic(service, name)
            nursery.cancel_scope.cancel()


async def _drain(subscription: ISubscriptionAPI) -> None:
    # What matters happened in the validator; the subscription's queue only has to be emptied.
    while True:
        await subscription.get()


for _module in (gossipsub, pubsub):
    setattr(_module, "env_to_send_in_RPC", _no_peer_record)  # noqa: B010 - 3
