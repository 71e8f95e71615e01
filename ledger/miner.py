"""Makes blocks of a group chain, each on disk before it is mined; outlives anvil's death."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog

from openstall.ledger.anvil import BLOCK_GAS_LIMIT, AnvilProcess
from openstall.ledger.chain import Block, read_block
from openstall.ledger.gateway import RawTx
from openstall.ledger.journal import Journal, MinedBlock
from openstall.ledger.transport import RpcRefusal
from openstall.market.errors import ChainError, OpenstallError

STATE_AFTER_BYTES = 2 * 1024 * 1024
"""Journal bytes after which the state is saved: some 3,000 transactions, or 2 s of replay."""
BOOT_ATTEMPTS = 3
"""Anvil may be killed again while blocks are replayed, for example when memory is short."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A transaction on its way into a block; `done` gives its hash, or why it was refused."""

    tx: RawTx
    done: Future[str]


class Miner:
    """The engine and the journal of one chain.

    All methods but `time_after` belong to one thread, which must live as long as the chain: on Linux
    anvil dies with the thread that started it. Other threads read `engine` and `head` after waiting for
    `serving`: while blocks are replayed, a reader would see a chain that shrank.
    """

    def __init__(self, *, folder: Path, binary: Path, chain_id: int, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._binary = binary
        self._chain_id = chain_id
        self._clock = clock
        self._journal = Journal(folder)
        self.engine: AnvilProcess | None = None
        self.head: Block | None = None
        self.serving = threading.Event()
        self._not_before_bytes = 0

    def boot(self) -> None:
        """Start anvil from the newest state and mine again what the journal has after it.

        Raises:
            StoreError: the files are damaged.
            ChainError: anvil does not start, or does not rebuild the same blocks.
        """
        self.serving.clear()
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            try:
                self._boot_once()
            except ChainError:
                if attempt == BOOT_ATTEMPTS or (self.engine is not None and self._answers()):
                    self.shut()
                    raise
            except BaseException:
                self.shut()
                raise
            else:
                self.serving.set()
                return

    def _boot_once(self) -> None:
        if self.engine is not None:
            self.engine.stop()
        self._journal.close()
        recovery = self._journal.recover()
        self.engine = AnvilProcess(
            binary=self._binary,
            folder=self._folder,
            chain_id=self._chain_id,
            genesis=self._folder / "genesis.json",
        )
        self.engine.start()
        if recovery.state is not None:
            # Not by --load-state: that makes a genesis of its own, and later dumps would hold both.
            self.engine.call("anvil_loadState", ["0x" + recovery.state.hex()])
        self.head = read_block(self.engine.call("eth_getBlockByNumber", ["latest", False]))
        # With a loaded state anvil begins at the wall clock, and would refuse the older times of the journal.
        self.engine.call("evm_setTime", [self.head.timestamp])
        for block in recovery.blocks:
            if block.parent != self.head.hash or block.number != self.head.number + 1:
                raise _inconsistent(block.number)
            for raw in block.raw:
                self.engine.call("eth_sendRawTransaction", [raw])
            self._mine(block)
        _log.info("group chain started", height=self.head.number, replayed=len(recovery.blocks))

    def revive(self) -> None:
        """Start anvil again if it is gone."""
        if not self._answers():
            self.boot()

    def _running(self) -> AnvilProcess:
        if self.engine is None:
            raise stopped()
        return self.engine

    def _answers(self) -> bool:
        """Asked of the engine itself: a killed process may still look alive for a moment."""
        try:
            self._running().call("eth_chainId", [])
        except ChainError:
            return False
        return True

    def mine_all(self, batch: list[Submission]) -> None:
        """Mine a batch in as many blocks as its gas needs; a fault is each sender's answer, not our end."""
        waiting = sorted(batch, key=lambda submission: submission.tx.nonce)
        while waiting:
            gas, count = 0, 0
            while count < len(waiting) and gas + waiting[count].tx.gas <= BLOCK_GAS_LIMIT:
                gas += waiting[count].tx.gas
                count += 1
            group, waiting = waiting[:count], waiting[count:]
            try:
                self._mine_group(group)
            except Exception as error:  # noqa: BLE001 - answered to each sender; the worker lives on
                _log.warning("group chain could not mine", error=str(error))
                self._clear_pool()
                for submission in group:
                    if not submission.done.done():
                        submission.done.set_exception(error)
        if batch:
            least = (STATE_AFTER_BYTES, self._journal.state_bytes, self._not_before_bytes)
            self.save_state(least_bytes=max(least))

    def _mine_group(self, group: list[Submission]) -> None:
        try:
            accepted = [submission for submission in group if self._accept(submission)]
        except ChainError:
            self.boot()  # with an empty pool
            waiting = (submission for submission in group if not submission.done.done())
            accepted = [submission for submission in waiting if self._accept(submission)]
        head = self.head
        if not accepted or head is None:
            return
        block = MinedBlock(
            number=head.number + 1,
            at=self.time_after(head),
            parent=head.hash,
            raw=[submission.tx.raw for submission in accepted],
        )
        self._journal.append(block)
        try:
            self._mine(block)
        except ChainError:
            self.boot()  # the block is on disk: it is mined by the replay
        for submission in accepted:
            submission.done.set_result(submission.tx.tx_hash)

    def _clear_pool(self) -> None:
        """What was refused after all (say, the disk is full) must not slip into the next block."""
        try:
            self._running().call("anvil_dropAllTransactions", [])
        except ChainError as error:  # then it is started anew before the next block, with an empty pool
            _log.warning("group chain does not answer", error=error.message)

    def _accept(self, submission: Submission) -> bool:
        """Offer a transaction to anvil's pool. Only the very next nonce passes, so none waits there."""
        tx, engine = submission.tx, self._running()
        try:
            expected = int(engine.call("eth_getTransactionCount", [tx.sender, "pending"]), 16)
            if tx.nonce == expected:
                engine.call("eth_sendRawTransaction", [tx.raw])
                return True
            if tx.nonce < expected and engine.call("eth_getTransactionByHash", [tx.tx_hash]) is not None:
                submission.done.set_result(tx.tx_hash)
                return False
            side = "low" if tx.nonce < expected else "high"
            fault = f"the nonce is too {side}: {tx.nonce} instead of {expected}"
            submission.done.set_exception(RpcRefusal(fault, rpc_code=-32003))
        except RpcRefusal as error:
            submission.done.set_exception(error)
        return False

    def _mine(self, block: MinedBlock) -> None:
        """Mine the pool as this very block, and see that it is."""
        engine = self._running()
        engine.call("evm_setNextBlockTimestamp", [block.at])
        engine.call("evm_mine", [])
        mined = engine.call("eth_getBlockByNumber", ["latest", False])
        self.head = read_block(mined)
        if self.head.number != block.number or len(mined["transactions"]) != len(block.raw):
            raise _inconsistent(block.number)

    def time_after(self, head: Block) -> int:
        """The time of a block after `head`: the clock's, never before the head's."""
        return max(int(self._clock()), head.timestamp)

    def save_state(self, *, least_bytes: int) -> None:
        """Save the state if the journal has grown by `least_bytes` since the last time."""
        head, engine = self.head, self.engine
        if (
            self._journal.bytes_since_state < least_bytes
            or head is None
            or engine is None
            or not engine.alive()
        ):
            return
        try:
            self._journal.save_state(head.number, bytes.fromhex(engine.call("anvil_dumpState", [])[2:]))
        except OpenstallError as error:  # the journal still has everything; each try costs a long pause
            self._not_before_bytes = self._journal.bytes_since_state + STATE_AFTER_BYTES
            _log.warning("group chain state not saved", error=error.message)
        else:
            self._not_before_bytes = 0

    def shut(self) -> None:
        """End anvil; readers that wait find the chain stopped."""
        self.serving.set()
        self._journal.close()
        if self.engine is not None:
            self.engine.stop()
            self.engine = None
        self.head = None


def stopped() -> ChainError:
    """The chain is not running."""
    return ChainError(
        "chain_stopped", "The group's chain is not running.", "Start the node that hosts the group."
    )


def _inconsistent(number: int) -> ChainError:
    return ChainError(
        "chain_inconsistent",
        f"The group's chain could not rebuild block {number}.",
        "Restore the folder from a back-up. Members keep their own signed orders.",
    )
