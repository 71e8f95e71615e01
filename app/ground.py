"""What trading stands on: everything that its services are made of."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import Secrets
from openstall.app.paths import Home
from openstall.app.services.blobs.ipfs import Ipfs
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.house import House
from openstall.app.services.mailbox.post import Post
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.rigs.hub import RigHub
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.host import PeerHost
from openstall.p2p.web_guard import Web
from openstall.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What trading stands on."""

    home: Home
    store: Store
    workers: Workers
    bus: EventBus
    clock: Clock
    seed: bytes
    wallet: Wallet
    network: str
    chain: Chain
    transactions: TransactionService
    host: PeerHost
    post: Post
    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    web: Web
    ipfs: Ipfs
    agent: AgentClient
    own_machine: bool
    """Whether this machine runs jobs itself."""
    house: House
    rigs: RigHub
    catalogue: Catalogue
    secrets: Secrets
