"""The embedded chain of a group: anvil behind our gateway, durable through the journal.

All writes pass through one worker thread: collect what arrives within a few milliseconds, let anvil
check it, put the block on disk, mine it, answer. That thread also starts anvil (on Linux a child dies
with the thread that started it) and starts it again when it was killed.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from openstall.ledger import gateway
from openstall.ledger.anvil import BLOCK_GAS_LIMIT, AnvilProcess
from openstall.ledger.chain import Block, ChainParams, read_block
from openstall.ledger.deployment import deploy
from openstall.ledger.gateway import RawTx
from openstall.ledger.journal import Journal, MinedBlock
from openstall.ledger.private_files import read_private, write_private
from openstall.ledger.transport import JsonValue, RpcRefusal
from openstall.market.errors import ChainError, Conflict, IdentityError, OpenstallError, StoreError

COALESCE_S = 0.005
STATE_AFTER_BYTES = 2 * 1024 * 1024
"""Journal bytes after which the state is saved: some 3,000 transactions, or 2 s of replay."""
ANSWER_TIMEOUT_S = 120.0
MAX_WAITING = 4096
_log = structlog.get_logger(__name__)


class _ChainFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: int
    name: str
    chain_id: int
    genesis_hash: str
    credit: str
    escrow: str
    channel: str


@dataclass(frozen=True, slots=True)
class _Submission:
    tx: RawTx
    done: Future[str]


@dataclass(frozen=True, slots=True)
class _Wake:
    """Asks the worker to bring anvil back if it is gone (`stop` false), or to end."""

    stop: bool
    done: Future[None]


class GroupHost:
    """Hosts one group chain in `folder`. Every method is thread-safe and blocks.

    Args:
        clock: Unix seconds; block times follow it and never run backwards.
    """

    durable = True

    def __init__(self, folder: Path, anvil_path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._binary = anvil_path
        self._clock = clock
        self._queue: queue.Queue[_Submission | _Wake] = queue.Queue(maxsize=MAX_WAITING)
        self._worker: threading.Thread | None = None
        self._anvil: AnvilProcess | None = None
        self._head: Block | None = None
        self._params: ChainParams | None = None
        self._chain_id = 0
        self._serving = threading.Event()

    @property
    def exists(self) -> bool:
        """Whether the folder holds a chain that was created to the end."""
        return (self._folder / "chain.json").exists()

    @property
    def params(self) -> ChainParams:
        """The chain; it must have been started.

        Raises:
            ChainError: `chain_stopped`.
        """
        if self._params is None:
            raise _stopped()
        return self._params

    @property
    def anvil_pid(self) -> int:
        """Process id of the chain's engine."""
        if self._anvil is None:
            raise _stopped()
        return self._anvil.pid

    def create(self, name: str) -> ChainParams:
        """Make a new chain with our contracts and start it.

        Raises:
            Conflict: the folder holds a chain already.
            ChainError: anvil does not start.
        """
        if self.exists:
            raise Conflict(
                "group_exists", "This home hosts a group already.", "Use another home for another group."
            )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in (*self._folder.glob("wal-*.log"), *self._folder.glob("state-*.json.gz")):
            left.unlink()  # from a creation that was interrupted: nobody was ever invited to it
        self._chain_id = secrets.randbelow(2**48) + 2**32
        write_private(self._folder / "genesis.json", _genesis(self._chain_id, int(self._clock())))
        self._launch()
        try:
            genesis = read_block(self.handle("eth_getBlockByNumber", ["0x0", False]))
            found = deploy(self.handle, chain_id=self._chain_id)
            record = _ChainFile(
                v=1,
                name=name,
                chain_id=self._chain_id,
                genesis_hash=genesis.hash,
                credit=found.credit,
                escrow=found.escrow,
                channel=found.channel,
            )
            write_private(self._folder / "chain.json", msgspec.json.encode(record))
        except BaseException:
            self.stop()
            raise
        self._params = _params_of(record)
        return self._params

    def start(self) -> ChainParams:
        """Start the chain of this folder again: newest state, then the journal.

        Raises:
            StoreError: the files are damaged.
            ChainError: anvil does not start.
        """
        try:
            content = read_private(self._folder / "chain.json", max_bytes=4096)
            record = msgspec.json.decode(content, type=_ChainFile)
        except (IdentityError, msgspec.DecodeError) as error:
            raise StoreError(
                "chain_damaged", "The file chain.json of the group's chain is damaged."
            ) from error
        self._chain_id = record.chain_id
        self._launch()
        self._params = _params_of(record)
        return self._params

    def handle(self, method: str, params: list[JsonValue]) -> JsonValue:
        """The gateway: answer one call of a member.

        Raises:
            Refused: a method or parameters that are not on the list.
            RpcRefusal: the chain itself refuses.
            ChainError: the chain cannot be brought back.
        """
        if method == "eth_sendRawTransaction":
            return self._submit(gateway.read_raw_tx(params, chain_id=self._chain_id))
        checked = gateway.check_call(method, params)
        if method == "eth_call":
            checked = self._at_present(checked)
        try:
            result = self._reader().call(method, checked)
        except RpcRefusal:
            raise
        except ChainError:
            self._wake(stop=False)
            result = self._reader().call(method, checked)
        return gateway.check_result(method, result)

    def stop(self) -> None:
        """Save the state and end. Safe to call twice."""
        if self._worker is not None:
            self._wake(stop=True)
            self._worker.join()
            self._worker = None
        self._params = None

    def _submit(self, tx: RawTx) -> str:
        done: Future[str] = Future()
        self._put(_Submission(tx, done))
        try:
            return done.result(ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise ChainError(
                "not_mined_yet", "The group's host is too busy.", "The transaction may still arrive."
            ) from error

    def _at_present(self, params: list[JsonValue]) -> list[JsonValue]:
        """A call sees the clock, not the time of the last block: in a quiet group that may be hours ago."""
        block = params[1] if len(params) == 2 else "latest"
        if block not in ("latest", "pending") or self._head is None:
            return params
        return [params[0], block, {}, {"time": hex(self._time_after(self._head))}]

    def _reader(self) -> AnvilProcess:
        """The engine once complete: while blocks are replayed, readers would see a chain that shrank."""
        self._serving.wait(ANSWER_TIMEOUT_S)
        return self._engine()

    def _engine(self) -> AnvilProcess:
        if self._anvil is None:
            raise _stopped()
        return self._anvil

    def _put(self, item: _Submission | _Wake) -> None:
        if self._worker is None or not self._worker.is_alive():
            raise _stopped()
        try:
            self._queue.put(item, timeout=ANSWER_TIMEOUT_S)
        except queue.Full as error:
            raise ChainError(
                "chain_busy", "The group's host is too busy.", "Try again in a minute."
            ) from error

    def _wake(self, *, stop: bool) -> None:
        done: Future[None] = Future()
        try:
            self._put(_Wake(stop, done))
        except ChainError:
            if stop:
                return
            raise
        done.result(ANSWER_TIMEOUT_S)

    def _launch(self) -> None:
        if self._worker is not None:
            raise Conflict("already_running", "The group's chain is running already.")
        ready: Future[None] = Future()
        self._worker = threading.Thread(target=self._work, args=(ready,), name="group-chain", daemon=True)
        self._worker.start()
        try:
            ready.result()
        except BaseException:
            self._worker.join()
            self._worker = None
            raise

    # What follows runs in the worker thread only.

    def _work(self, ready: Future[None]) -> None:
        journal = Journal(self._folder)
        try:
            self._boot(journal)
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self._shut(journal)
            ready.set_exception(error)
            return
        ready.set_result(None)
        stopping: _Wake | None = None
        while stopping is None:
            batch, wakes = self._collect()
            self._mine_all(journal, batch)
            for wake in wakes:
                if wake.stop:
                    stopping = wake
                else:
                    self._revive(journal, wake)
        self._save_state(journal, least_bytes=1)
        self._shut(journal)
        self._refuse_waiting()
        stopping.done.set_result(None)

    def _collect(self) -> tuple[list[_Submission], list[_Wake]]:
        """Wait for one item, then take what arrives within a few milliseconds: one block for all."""
        items = [self._queue.get()]
        stop_at = time.monotonic() + COALESCE_S
        while len(items) < MAX_WAITING:
            try:
                items.append(self._queue.get(timeout=max(0.0, stop_at - time.monotonic())))
            except queue.Empty:
                break
        submissions = [item for item in items if isinstance(item, _Submission)]
        return submissions, [item for item in items if isinstance(item, _Wake)]

    def _boot(self, journal: Journal) -> None:
        self._serving.clear()
        if self._anvil is not None:
            self._anvil.stop()
        journal.close()
        recovery = journal.recover()
        self._anvil = AnvilProcess(
            binary=self._binary,
            folder=self._folder,
            chain_id=self._chain_id,
            genesis=self._folder / "genesis.json",
            state=recovery.state,
        )
        self._anvil.start()
        self._head = read_block(self._anvil.call("eth_getBlockByNumber", ["latest", False]))
        for block in recovery.blocks:
            if block.parent != self._head.hash or block.number != self._head.number + 1:
                raise _inconsistent(block.number)
            for raw in block.raw:
                self._anvil.call("eth_sendRawTransaction", [raw])
            self._mine(block)
        self._serving.set()
        _log.info("group chain started", height=self._head.number, replayed=len(recovery.blocks))

    def _revive(self, journal: Journal, wake: _Wake) -> None:
        try:
            if not self._answers():
                self._boot(journal)
        except OpenstallError as error:
            wake.done.set_exception(error)
        else:
            wake.done.set_result(None)

    def _answers(self) -> bool:
        """Asked of the engine itself: a killed process may still look alive for a moment."""
        try:
            self._engine().call("eth_chainId", [])
        except ChainError:
            return False
        return True

    def _mine_all(self, journal: Journal, batch: list[_Submission]) -> None:
        """Mine a batch in as many blocks as its gas needs; a fault is each sender's answer, not our end."""
        waiting = sorted(batch, key=lambda submission: submission.tx.nonce)
        while waiting:
            gas, count = 0, 0
            while count < len(waiting) and gas + waiting[count].tx.gas <= BLOCK_GAS_LIMIT:
                gas += waiting[count].tx.gas
                count += 1
            group, waiting = waiting[:count], waiting[count:]
            try:
                self._mine_group(journal, group)
            except Exception as error:  # noqa: BLE001 - answered to each sender; the worker lives on
                _log.warning("group chain could not mine", error=str(error))
                for submission in group:
                    if not submission.done.done():
                        submission.done.set_exception(error)
        if batch:
            self._save_state(journal, least_bytes=max(STATE_AFTER_BYTES, journal.state_bytes))

    def _mine_group(self, journal: Journal, group: list[_Submission]) -> None:
        try:
            accepted = [submission for submission in group if self._accept(submission)]
        except ChainError:
            self._boot(journal)  # with an empty pool
            waiting = (submission for submission in group if not submission.done.done())
            accepted = [submission for submission in waiting if self._accept(submission)]
        head = self._head
        if not accepted or head is None:
            return
        block = MinedBlock(
            number=head.number + 1,
            at=self._time_after(head),
            parent=head.hash,
            raw=[submission.tx.raw for submission in accepted],
        )
        try:
            journal.append(block)
        except StoreError:
            self._engine().call("anvil_dropAllTransactions", [])
            raise
        try:
            self._mine(block)
        except ChainError:
            self._boot(journal)  # the block is on disk: it is mined by the replay
        for submission in accepted:
            submission.done.set_result(submission.tx.tx_hash)

    def _accept(self, submission: _Submission) -> bool:
        """Offer a transaction to anvil's pool. Only the very next nonce passes, so none waits there."""
        tx, engine = submission.tx, self._engine()
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
        engine = self._engine()
        engine.call("evm_setNextBlockTimestamp", [block.at])
        engine.call("evm_mine", [])
        mined = engine.call("eth_getBlockByNumber", ["latest", False])
        self._head = read_block(mined)
        if self._head.number != block.number or len(mined["transactions"]) != len(block.raw):
            raise _inconsistent(block.number)

    def _time_after(self, head: Block) -> int:
        return max(int(self._clock()), head.timestamp)

    def _save_state(self, journal: Journal, *, least_bytes: int) -> None:
        head, engine = self._head, self._anvil
        if journal.bytes_since_state < least_bytes or head is None or engine is None or not engine.alive():
            return
        try:
            journal.save_state(head.number, bytes.fromhex(engine.call("anvil_dumpState", [])[2:]))
        except OpenstallError as error:  # the journal still has everything
            _log.warning("group chain state not saved", error=error.message)

    def _shut(self, journal: Journal) -> None:
        self._serving.set()  # readers that wait find the chain stopped
        journal.close()
        if self._anvil is not None:
            self._anvil.stop()
            self._anvil = None
        self._head = None

    def _refuse_waiting(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            item.done.set_exception(_stopped())


def _genesis(chain_id: int, now: int) -> bytes:
    """A genesis with one random empty-handed account, so that no two groups share a genesis hash."""
    return json.dumps(
        {
            "config": {"chainId": chain_id},
            "nonce": "0x0",
            "timestamp": hex(now),
            "extraData": "0x",
            "gasLimit": hex(BLOCK_GAS_LIMIT),
            "difficulty": "0x0",
            "mixHash": "0x" + "00" * 32,
            "coinbase": "0x" + "00" * 20,
            "alloc": {"0x" + secrets.token_hex(20): {"balance": "0x1"}},
        }
    ).encode()


def _params_of(record: _ChainFile) -> ChainParams:
    return ChainParams(
        chain_id=record.chain_id,
        genesis_hash=record.genesis_hash,
        name=record.name,
        credit=record.credit,
        escrow=record.escrow,
        channel=record.channel,
        kind="group",
    )


def _stopped() -> ChainError:
    return ChainError(
        "chain_stopped", "The group's chain is not running.", "Start the node that hosts the group."
    )


def _inconsistent(number: int) -> ChainError:
    return ChainError(
        "chain_inconsistent",
        f"The group's chain could not rebuild block {number}.",
        "Restore the folder from a back-up. Members keep their own signed orders.",
    )
