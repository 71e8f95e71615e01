"""The embedded chain of a group: anvil behind our gateway, durable through the journal.

All writes pass through one worker thread, which collects what arrives within a few milliseconds and
hands it to the miner; reads go to anvil directly.
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

from openstall.ledger import gateway
from openstall.ledger.anvil import BLOCK_GAS_LIMIT, AnvilProcess
from openstall.ledger.chain import ChainParams, read_block
from openstall.ledger.deployment import deploy
from openstall.ledger.gateway import RawTx
from openstall.ledger.miner import Miner, Submission, stopped
from openstall.ledger.private_files import read_private, write_private
from openstall.ledger.transport import JsonValue, RpcRefusal
from openstall.market.errors import ChainError, Conflict, IdentityError, OpenstallError, StoreError

COALESCE_S = 0.005
ANSWER_TIMEOUT_S = 120.0
MAX_WAITING = 4096


class _ChainFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: int
    name: str
    chain_id: int
    genesis_hash: str
    credit: str
    escrow: str
    channel: str
    bond: str = ""
    auction: str = ""
    model_escrow: str = ""
    contest: str = ""


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
        self._queue: queue.Queue[Submission | _Wake] = queue.Queue(maxsize=MAX_WAITING)
        self._worker: threading.Thread | None = None
        self._miner: Miner | None = None
        self._params: ChainParams | None = None
        self._chain_id = 0

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
            raise stopped()
        return self._params

    @property
    def anvil_pid(self) -> int:
        """Process id of the chain's engine."""
        return self._reader().pid

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
                bond=found.bond,
                auction=found.auction,
                model_escrow=found.model_escrow,
                contest=found.contest,
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
            self._worker, self._miner = None, None
        self._params = None

    def _submit(self, tx: RawTx) -> str:
        done: Future[str] = Future()
        self._put(Submission(tx, done))
        try:
            return done.result(ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise ChainError(
                "not_mined_yet", "The group's host is too busy.", "The transaction may still arrive."
            ) from error

    def _at_present(self, params: list[JsonValue]) -> list[JsonValue]:
        """A call sees the clock, not the time of the last block: in a quiet group that may be hours ago."""
        block = params[1] if len(params) == 2 else "latest"
        head = self._miner.head if self._miner is not None else None
        if block not in ("latest", "pending") or self._miner is None or head is None:
            return params
        return [params[0], block, {}, {"time": hex(self._miner.time_after(head))}]

    def _reader(self) -> AnvilProcess:
        """The engine, once it is complete."""
        miner = self._miner
        if miner is None:
            raise stopped()
        return miner.reader(ANSWER_TIMEOUT_S)

    def _put(self, item: Submission | _Wake) -> None:
        if self._worker is None or not self._worker.is_alive():
            raise stopped()
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
        miner = Miner(folder=self._folder, binary=self._binary, chain_id=self._chain_id, clock=self._clock)
        self._miner = miner
        self._worker = threading.Thread(
            target=self._work, args=(miner, ready), name="group-chain", daemon=True
        )
        self._worker.start()
        try:
            ready.result()
        except BaseException:
            self._worker.join()
            self._worker, self._miner = None, None
            raise

    def _work(self, miner: Miner, ready: Future[None]) -> None:
        """The worker thread."""
        try:
            miner.boot()
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            miner.shut()
            ready.set_exception(error)
            return
        ready.set_result(None)
        stopping: _Wake | None = None
        while stopping is None:
            batch, wakes = self._collect()
            miner.mine_all(batch)
            for wake in wakes:
                if wake.stop:
                    stopping = wake
                else:
                    _revive(miner, wake)
        miner.save_state(least_bytes=1)
        miner.shut()
        self._refuse_waiting()
        stopping.done.set_result(None)

    def _collect(self) -> tuple[list[Submission], list[_Wake]]:
        """Wait for one item, then take what arrives within a few milliseconds: one block for all."""
        items = [self._queue.get()]
        stop_at = time.monotonic() + COALESCE_S
        while len(items) < MAX_WAITING:
            try:
                items.append(self._queue.get(timeout=max(0.0, stop_at - time.monotonic())))
            except queue.Empty:
                break
        submissions = [item for item in items if isinstance(item, Submission)]
        return submissions, [item for item in items if isinstance(item, _Wake)]

    def _refuse_waiting(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            item.done.set_exception(stopped())


def _revive(miner: Miner, wake: _Wake) -> None:
    try:
        miner.revive()
    except OpenstallError as error:
        wake.done.set_exception(error)
    else:
        wake.done.set_result(None)


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
        bond=record.bond,
        auction=record.auction,
        model_escrow=record.model_escrow,
        contest=record.contest,
        kind="group",
    )
