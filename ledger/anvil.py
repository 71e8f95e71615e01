"""One anvil process: found, started on loopback inside the chain's own folder, and tied to our life.

Anvil is never reachable but through our gateway: a bare anvil lets every caller mint, impersonate
and rewind (research: ledger.md §1).
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from openstall.ledger.transport import HttpTransport, JsonValue
from openstall.market.errors import ChainError

BLOCK_GAS_LIMIT = 1_000_000_000
START_TIMEOUT_S = 20.0
MAX_STATE_BYTES = 1024**3
"""The longest answer of the engine, a child of ours: its whole state grows with every transaction."""
_START_ATTEMPTS = 5
_TETHER = Path(__file__).with_name("tether.py")
_PACKAGES = Path(__file__).parent / "contracts" / "node_modules" / "@foundry-rs"


def find_anvil() -> Path | None:
    """The anvil binary: `OPENSTALL_ANVIL`, the checkout's npm packages, the PATH; None if there is none."""
    named = os.environ.get("OPENSTALL_ANVIL")
    if named:
        path = Path(named)
        return path if os.access(path, os.X_OK) else None
    system = {"linux": "linux", "darwin": "darwin", "win32": "win32"}.get(sys.platform, "")
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower(), ""
    )
    binary = "anvil.exe" if sys.platform == "win32" else "anvil"
    bundled = _PACKAGES / f"anvil-{system}-{machine}" / "bin" / binary
    if os.access(bundled, os.X_OK):
        return bundled
    found = shutil.which("anvil")
    return Path(found) if found else None


class AnvilProcess:
    """A running anvil.

    Start it from a thread that lives as long as it should: on Linux it dies with that thread.

    Args:
        folder: the chain's folder; anvil's home, cache and temporary files stay inside.
    """

    def __init__(self, *, binary: Path, folder: Path, chain_id: int, genesis: Path) -> None:
        self._scratch = folder / "scratch"
        self._command = [
            str(binary), "--quiet", "--host", "127.0.0.1", "--chain-id", str(chain_id),
            "--no-mining", "--order", "fifo", "--prune-history", "64", "--accounts", "0",
            "--base-fee", "0", "--gas-price", "0", "--disable-min-priority-fee",
            "--gas-limit", str(BLOCK_GAS_LIMIT), "--no-cors", "--slots-in-an-epoch", "1",
            "--cache-path", str(self._scratch),
            "--init", str(genesis), "--no-request-size-limit",
        ]  # fmt: skip
        self._chain_id = chain_id
        self._process: subprocess.Popen[bytes] | None = None
        self._rpc: HttpTransport | None = None

    @property
    def pid(self) -> int:
        """Process id of anvil itself on Linux, of its guard elsewhere."""
        if self._process is None:
            raise ChainError("chain_stopped", "The group's chain is not running.")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers with our chain id.

        Raises:
            ChainError: it does not start.
        """
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700)
        for _ in range(_START_ATTEMPTS):
            if self._start_once(_free_port()):
                return
            self.stop()  # somebody took the port between our look and anvil's bind
        raise ChainError(
            "chain_does_not_start",
            "The group's chain does not start.",
            "Look into the log for anvil's own message; check free memory and disk.",
        )

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def call(self, method: str, params: list[JsonValue]) -> JsonValue:
        """One JSON-RPC call, from any thread."""
        rpc = self._rpc
        if rpc is None:
            raise ChainError("chain_stopped", "The group's chain is not running.")
        return rpc(method, params)

    def stop(self) -> None:
        """End the process; the state that counts is in the journal."""
        process, rpc, self._process, self._rpc = self._process, self._rpc, None, None
        if rpc is not None:
            rpc.close()
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start_once(self, port: int) -> bool:
        scratch = str(self._scratch)
        keep = {key: os.environ[key] for key in ("SYSTEMROOT", "PATH") if key in os.environ}
        guard = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())]
        self._process = subprocess.Popen(
            [*guard, *self._command, "--port", str(port)],
            cwd=scratch,
            env={
                **keep,
                "HOME": scratch,
                "TMPDIR": scratch,
                "XDG_CACHE_HOME": scratch,
                "RUST_BACKTRACE": "0",
            },
            stdin=subprocess.DEVNULL if sys.platform == "linux" else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        rpc = HttpTransport(f"http://127.0.0.1:{port}", timeout_s=120.0, max_bytes=MAX_STATE_BYTES)
        stop_at = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < stop_at:
            try:
                if int(rpc("eth_chainId", []), 16) != self._chain_id:
                    return False
            except ChainError:
                time.sleep(0.01)  # nothing signals that a foreign process listens
                continue
            self._rpc = rpc
            return True
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
