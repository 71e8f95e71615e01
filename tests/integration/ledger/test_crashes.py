"""kill -9 at random moments during writes: nothing that was confirmed is lost, and no process is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from ledger_lab import Clock, Lab

from openstall.ledger import miner
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.group_host import GroupHost
from openstall.ledger.transport import MAX_RESPONSE_BYTES
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, StoreError

CHILD = Path(__file__).with_name("hosting_child.py")
HostAt = Callable[[Path], GroupHost]


def gone(pid: int, timeout_s: float = 10.0) -> bool:
    """Whether a process ends in time (a zombie has ended; somebody else must reap it)."""
    try:
        process = psutil.Process(pid)
        process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def kill_engine(host: GroupHost) -> int:
    """Kill anvil at this very moment, also while it is being started again."""
    while True:
        try:
            pid = host.anvil_pid
            os.kill(pid, signal.SIGKILL)
        except (ChainError, ProcessLookupError):
            continue
        return pid


def check_confirmed(chain: Chain, lines: list[str]) -> None:
    for line in lines:
        tx_hash, number, block_hash = line.split()[1:]
        receipt = chain.receipt(tx_hash)
        assert receipt is not None, "a confirmed transaction was lost"
        assert receipt.ok
        assert (receipt.block_number, receipt.block_hash) == (int(number), block_hash)


def run_and_kill(folder: Path, *, after: int) -> tuple[int, list[str]]:
    """Start a host and kill it after some confirmations; its engine, and each whole line it said."""
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            engine = int(child.stdout.readline().removeprefix("pid "))
            lines = [child.stdout.readline() for _ in range(after)]
        finally:
            child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    return engine, [line for line in lines if line.endswith("\n")]


def test_host_process_killed_at_random_moments(tmp_path: Path, anvil: Path, host_at: HostAt) -> None:
    folder, chance, confirmed = tmp_path / "chain", random.Random(2), []
    for _ in range(4):
        engine, lines = run_and_kill(folder, after=chance.randint(5, 60))
        confirmed += lines
        assert gone(engine), "anvil outlived its host"
    host = host_at(folder)
    chain = Chain(host.start(), host.handle)
    check_confirmed(chain, confirmed)
    head = chain.head()
    host.stop()
    again = host_at(folder)
    assert Chain(again.start(), again.handle, highest=head).head() == head


def test_anvil_killed_at_random_moments(
    tmp_path: Path, host_at: HostAt, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner, "STATE_AFTER_BYTES", 8_000)  # so that states are saved within this test
    host = host_at(tmp_path / "chain")
    host.create("Crash")
    lab, confirmed, stop = Lab(host, clock), [], threading.Event()
    faults: list[BaseException] = []

    def write(wallet: Wallet) -> None:
        try:
            while not stop.is_set():
                receipt = lab.send(wallet, lab.credit.transfer(lab.outsider.address, 1))
                assert receipt.ok
                confirmed.append(f"tx {receipt.tx_hash} {receipt.block_number} {receipt.block_hash}")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            faults.append(error)

    writers = [
        threading.Thread(target=write, args=(wallet,)) for wallet in (lab.buyer, lab.seller, lab.arbiter)
    ]
    for writer in writers:
        writer.start()
    chance, killed = random.Random(3), set()
    try:
        for _ in range(6):
            enough = len(confirmed) + chance.randint(3, 25)
            while len(confirmed) < enough and not faults:
                stop.wait(0.002)
            assert not faults, faults
            killed.add(kill_engine(host))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not faults, faults
    check_confirmed(lab.chain, confirmed)
    head = lab.chain.head()
    assert len(killed) == 6
    host.stop()
    again = host_at(tmp_path / "chain")
    chain = Chain(again.start(), again.handle, highest=head)
    assert chain.head() == head
    check_confirmed(chain, confirmed)
    assert len(list((tmp_path / "chain").glob("state-*"))) <= 2


def test_the_state_of_a_chain_that_has_grown_large_is_still_saved(
    tmp_path: Path, host_at: HostAt, clock: Clock
) -> None:
    """Else every later block would wait for a state that is then thrown away, and a start for all of them."""
    folder = tmp_path / "chain"
    host = host_at(folder)
    host.create("Large")
    lab, noise = Lab(host, clock), random.Random(4)
    saved: list[Path] = []
    while sum(path.stat().st_size for path in saved) < MAX_RESPONSE_BYTES // 2:
        data = noise.randbytes(60_000)
        request = TxRequest(to=lab.seller.address, data=data, gas=4_000_000, what="write much")
        assert lab.send(lab.buyer, request).ok
        saved = list(folder.glob("state-*"))
        assert lab.chain.head().number < 600, "the state is not saved any more"
    head = lab.chain.head()
    host.stop()
    again = host_at(folder)
    assert Chain(again.start(), again.handle, highest=head).head() == head


def test_nothing_is_left_outside_the_folder(
    tmp_path: Path, host_at: HostAt, clock: Clock, private_home: Path
) -> None:
    before = set(private_home.rglob("*"))
    host = host_at(tmp_path / "chain")
    host.create("Tidy")
    lab = Lab(host, clock)
    lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    engine = host.anvil_pid
    host.stop()
    assert gone(engine)
    assert set(private_home.rglob("*")) == before
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "chain").iterdir()) == [
        "chain.json",
        "genesis.json",
        "state",
    ] + ["wal"] * len(list((tmp_path / "chain").glob("wal-*")))


def test_blocks_older_than_the_restart_are_replayed_on_a_loaded_state(
    tmp_path: Path, host_at: HostAt, clock: Clock
) -> None:
    folder = tmp_path / "chain"
    host = host_at(folder)
    host.create("Old")
    clock.ahead_s = -10_000  # the chain stands still in time while its blocks follow the state
    lab = Lab(host, clock)
    host.stop()
    host = host_at(folder)
    host.start()
    lab = Lab(host, clock)
    kill_engine(host)
    head = lab.chain.head()
    for ahead_s in (-10_000, 0, 50_000):
        clock.ahead_s = ahead_s
        kill_engine(host)
        assert lab.chain.head() == head


def test_a_host_with_a_rolled_back_folder_is_found_out(tmp_path: Path, host_at: HostAt, clock: Clock) -> None:
    folder = tmp_path / "chain"
    host = host_at(folder)
    host.create("Rolled back")
    lab = Lab(host, clock)
    lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    head = lab.chain.head()
    host.stop()
    for path in folder.glob("state-*"):
        path.unlink()
    journal = max(folder.glob("wal-*"))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    again = host_at(folder)
    with pytest.raises(ChainError) as error:
        Chain(again.start(), again.handle, highest=head).head()
    assert error.value.code == "chain_shrank"


def test_damaged_files_are_told_and_not_overwritten(tmp_path: Path, host_at: HostAt) -> None:
    folder = tmp_path / "chain"
    host = host_at(folder)
    host.create("Damaged")
    host.stop()
    (state,) = folder.glob("state-*")
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    journal = min(folder.glob("wal-*"))
    journal.write_bytes(journal.read_bytes().replace(b"0x02", b"0x03", 1))
    with pytest.raises(StoreError) as error:
        host_at(folder).start()
    assert error.value.code == "chain_damaged"
    (folder / "chain.json").write_text("{}")
    with pytest.raises(StoreError):
        host_at(folder).start()


def test_a_damaged_newest_state_costs_nothing_but_time(tmp_path: Path, host_at: HostAt, clock: Clock) -> None:
    folder = tmp_path / "chain"
    host = host_at(folder)
    host.create("Replay")
    lab = Lab(host, clock)
    head = lab.chain.head()
    host.stop()
    (state,) = folder.glob("state-*")
    state.write_bytes(state.read_bytes()[:-9])
    again = host_at(folder)
    assert Chain(again.start(), again.handle, highest=head).head() == head


def test_a_full_disk_refuses_new_transactions_and_loses_none(
    tmp_path: Path, host_at: HostAt, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_at(tmp_path / "chain")
    host.create("Full")
    lab = Lab(host, clock)
    balance, head = lab.balance(lab.seller), lab.chain.head()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError) as error:
            lab.send(lab.buyer, lab.credit.transfer(lab.seller.address, 5))
        assert error.value.code == "disk_full"
    assert lab.chain.head() == head
    lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 7))
    assert lab.balance(lab.seller) == balance + 7


def test_time_between_blocks_is_not_made_up_under_load(tmp_path: Path, host_at: HostAt, clock: Clock) -> None:
    host = host_at(tmp_path / "chain")
    host.create("Fast")
    lab = Lab(host, clock)
    for _ in range(30):
        lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    assert lab.chain.head().timestamp <= int(time.time())
