"""This node's bond, and what the chain says of the bonds of others."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.door import PEER_KEY
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.bond import MAX_DELAY_S, MAX_ORACLES, MIN_DELAY_S, BondClient, BondOnChain, BondTerms
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet
from openstall.market.errors import Conflict, InvalidOrder, Refused
from openstall.market.records import Capacity, Peer, SignedRecord
from openstall.store.settings import Settings

_SETTING, _ORACLE = "capacity.bond", "capacity.oracle"


@dataclass(slots=True, kw_only=True)
class Bonds:
    """Posts, announces, withdraws, reads."""

    chain: Chain
    wallet: Wallet
    transactions: TransactionService
    catalogue: Catalogue
    settings: Settings
    workers: Workers

    async def own(self) -> BondOnChain | None:
        """The bond that this node posted last, as the chain has it; None before the first."""
        kept = await self.workers.store(self.settings.get, _SETTING)
        return None if kept is None else await self.read(kept["id"])

    async def own_id(self) -> str:
        """The id of the bond that this node's claim may name; empty where there is none that holds."""
        bond = await self.own() if self.chain.params.bond else None
        return bond.bond_id.hex() if bond is not None and bond.state in ("posted", "leaving") else ""

    async def post(
        self, *, amount_micro: int, oracles: list[str], quorum: int, unlock_delay_s: int
    ) -> BondOnChain:
        """Set money aside behind this node's claim; nothing of the terms can be changed later.

        Raises:
            Conflict: there is one already. Refused: the terms bind nobody. ChainError: refused or away.
        """
        own = await self.own()
        if own is not None and own.state not in ("none", "closed"):
            raise Conflict("has_bond", "This machine has a bond already.", "Take it back first.")
        _check_terms(self.wallet.address, oracles, quorum, unlock_delay_s)
        salt = secrets.token_bytes(32)
        kept = await self.workers.store(self.settings.get, _SETTING)
        if kept is not None and await self._on_its_way(kept["id"], own):
            # An earlier try that was signed and perhaps not sent: the same terms again, never a second bond.
            salt, oracles, quorum = bytes.fromhex(kept["salt"]), kept["oracles"], kept["quorum"]
            amount_micro, unlock_delay_s = kept["amount_micro"], kept["unlock_delay_s"]
        terms = BondTerms(
            provider=self.wallet.address,
            amount_micro=amount_micro,
            oracles=tuple(oracles),
            quorum=quorum,
            unlock_delay_s=unlock_delay_s,
            salt=salt,
        )
        client = BondClient(self.chain)
        bond_id = client.bond_id(terms).hex()
        await self.workers.store(self.settings.set, _SETTING, _kept(bond_id, terms))
        await self.transactions.send("post-bond", bond_id, lambda: client.post(self.wallet, terms))
        return await self.read(bond_id)

    async def announce(self) -> BondOnChain:
        """Say that the bond is taken back; it can be made to pay until the delay is over."""
        bond = await self._own_or_refuse()
        client = BondClient(self.chain)
        await self.transactions.send(
            "announce-bond", bond.bond_id.hex(), lambda: client.announce(bond.bond_id)
        )
        return await self.read(bond.bond_id.hex())

    async def withdraw(self) -> BondOnChain:
        """Take what is left, after the announced date."""
        bond = await self._own_or_refuse()
        client = BondClient(self.chain)
        await self.transactions.send(
            "withdraw-bond", bond.bond_id.hex(), lambda: client.withdraw(bond.bond_id)
        )
        return await self.read(bond.bond_id.hex())

    async def be_oracle(self, *, on: bool) -> None:
        """Work as an oracle for the bonds that name this wallet, or take on nothing new from now on."""
        await self.workers.store(self.settings.set, _ORACLE, on)

    async def check_oracle(self) -> None:
        """Whether this node's user has agreed to be an oracle: anybody can name any wallet in a bond.

        Raises:
            Refused: `no_oracle`.
        """
        if not await self.workers.store(self.settings.get, _ORACLE):
            raise Refused(
                "no_oracle",
                "The user of this node has not agreed to be an oracle.",
                "Ask for it: there, `openstall compute oracle on`.",
            )

    async def read(self, bond_id: str) -> BondOnChain:
        """A bond as the chain has it."""
        return await self.workers.chain(BondClient(self.chain).bond, bytes.fromhex(bond_id))

    async def behind(self, claim: Capacity, author: str, *, wallet: str = "") -> BondOnChain | None:
        """The bond that really stands behind a claim; None where none does.

        A claim can name any bond. It counts if it was posted from the wallet that is bound to the claim's
        author, in the group's own money. `wallet` is the one that was bound to the author at another time:
        who is caught must not get away by binding itself to a new one.

        Raises:
            ChainError: the chain is away.
        """
        if not claim.bond or not self.chain.params.bond:
            return None
        bond = await self.read(claim.bond)
        if bond.state not in ("posted", "leaving") or bond.token != self.chain.params.credit.lower():
            return None
        bound = wallet or await self.wallet_of(author)
        return bond if bond.provider == bound.lower() else None

    async def wallet_of(self, peer_id: str) -> str:
        """The wallet that is bound to a peer, lower case; empty where the catalogue knows none."""
        record = await self.catalogue.live_of(peer_id, "peer", PEER_KEY)
        return wallet_in(record)

    async def peer_of(self, wallet: str) -> str | None:
        """The peer that is bound to a wallet, where the catalogue knows one."""
        return await self.catalogue.peer_of(wallet)

    async def _on_its_way(self, bond_id: str, seen: BondOnChain | None) -> bool:
        not_seen = seen is not None and seen.state == "none"
        return not_seen and await self.transactions.started(bond_id, "post-bond")

    async def _own_or_refuse(self) -> BondOnChain:
        bond = await self.own()
        if bond is None or bond.state in ("none", "closed"):
            raise Conflict("no_bond", "This machine has no bond.", "Post one first.")
        return bond


def wallet_in(record: SignedRecord | None) -> str:
    """The wallet in a peer record; its two-way binding was checked when it came in."""
    return record.body.wallet.lower() if record is not None and isinstance(record.body, Peer) else ""


def as_dict(bond: BondOnChain) -> dict[str, Any]:
    """A bond as the local API shows it."""
    return {
        "bond_id": bond.bond_id.hex(),
        "state": bond.state,
        "provider": bond.provider,
        "left_micro": bond.left_micro,
        "oracles": list(bond.oracles),
        "quorum": bond.quorum,
        "unlock_delay_s": bond.unlock_delay_s,
        "unlock_at": bond.unlock_at or None,
    }


def place_of(bond: BondOnChain, wallet: str) -> int:
    """A wallet's place among the oracles.

    Raises:
        InvalidOrder: it is none of them.
    """
    if wallet.lower() not in bond.oracles:
        raise InvalidOrder("not_an_oracle", "That wallet is not an oracle of this bond.")
    return bond.oracles.index(wallet.lower())


def _check_terms(provider: str, oracles: list[str], quorum: int, unlock_delay_s: int) -> None:
    named = {oracle.lower() for oracle in oracles}
    if len(named) != len(oracles) or provider.lower() in named or not 0 < len(oracles) <= MAX_ORACLES:
        raise Refused(
            "bad_oracles",
            f"A bond names 1 to {MAX_ORACLES} different oracles, and not its own provider.",
            "Ask peers whom buyers trust, and give their wallets.",
        )
    if not len(oracles) < 2 * quorum <= 2 * len(oracles):
        raise Refused("bad_quorum", "More than half of the oracles must agree before a bond pays.")
    if not MIN_DELAY_S <= unlock_delay_s <= MAX_DELAY_S:
        raise Refused("bad_delay", f"The delay lies between {MIN_DELAY_S} seconds and 90 days.")


def _kept(bond_id: str, terms: BondTerms) -> dict[str, Any]:
    return {
        "id": bond_id,
        "amount_micro": terms.amount_micro,
        "oracles": list(terms.oracles),
        "quorum": terms.quorum,
        "unlock_delay_s": terms.unlock_delay_s,
        "salt": terms.salt.hex(),
    }
