"""What a provider's reliability rests on beside the order book: challenges it met, and bonds that paid."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.store.database import Store

MAX_KEPT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeMet:
    """A challenge that this machine answered, or failed to; times by its own clock."""

    challenge: str
    order_id: str
    outcome: str
    elapsed_ms: int
    allowed_ms: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BondPaid:
    """A bond of the group's chain that paid for a case; `wallet` is that of its provider, in lower case."""

    bond: str
    case_hash: str
    wallet: str
    amount_micro: int
    at: int


class ProviderLog:
    """Thread-safe; every method blocks on the disk. Of each kind the newest thousand are kept."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep_challenge(self, met: ChallengeMet) -> None:
        """Keep one; the same twice changes nothing."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO challenges_met (challenge, order_id, outcome, elapsed_ms, allowed_ms, at) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (challenge) DO NOTHING",
                [met.challenge, met.order_id, met.outcome, met.elapsed_ms, met.allowed_ms, met.at],
            )
            db.execute(
                "DELETE FROM challenges_met WHERE challenge NOT IN "
                "(SELECT challenge FROM challenges_met ORDER BY at DESC, challenge LIMIT ?)",
                [MAX_KEPT],
            )

    def challenges(self) -> list[ChallengeMet]:
        """All that are kept, newest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT challenge, order_id, outcome, elapsed_ms, allowed_ms, at FROM challenges_met "
                "ORDER BY at DESC, challenge"
            ).fetchall()
        return [
            ChallengeMet(
                challenge=row[0],
                order_id=row[1],
                outcome=row[2],
                elapsed_ms=row[3],
                allowed_ms=row[4],
                at=row[5],
            )
            for row in rows
        ]

    def keep_bond(self, paid: BondPaid) -> None:
        """Keep one; the same twice changes nothing."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO bonds_paid (bond, case_hash, wallet, amount_micro, at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (bond, case_hash) DO NOTHING",
                [paid.bond, paid.case_hash, paid.wallet.lower(), paid.amount_micro, paid.at],
            )

    def bonds_of(self, wallets: set[str]) -> list[BondPaid]:
        """Bonds of these wallets that paid, newest first, a thousand at most."""
        named = sorted(wallet.lower() for wallet in wallets)
        marks = ",".join("?" * len(named))
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT bond, case_hash, wallet, amount_micro, at FROM bonds_paid WHERE wallet IN ({marks}) "
                "ORDER BY at DESC, bond, case_hash LIMIT ?",
                [*named, MAX_KEPT],
            ).fetchall()
        return [
            BondPaid(bond=row[0], case_hash=row[1], wallet=row[2], amount_micro=row[3], at=row[4])
            for row in rows
        ]
