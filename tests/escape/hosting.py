"""What there is to steal, break or reach on the machine of the campaign: real, and all of it our own.

Everything lies in one folder of the user that runs the campaign; listeners bind the loopback interface only.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import selectors
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstall.compute_agent.sandbox.unboxed import remove_tree

_VICTIM = """
import ctypes, os, sys
kept = ctypes.create_string_buffer(sys.argv[1].encode())
file = os.open(sys.argv[2], os.O_RDONLY)
print(ctypes.addressof(kept), file, flush=True)
sys.stdin.read()
"""
_LIBC = ctypes.CDLL(None, use_errno=True)
_KEY_NUMBERS = {"x86_64": (248, 250), "aarch64": (217, 219)}


@dataclass(kw_only=True)
class Stage:
    """The prepared machine. `facts` is told to every attempt; `close()` removes all of it."""

    folder: Path
    secret: str = field(default_factory=lambda: f"SECRET-{secrets.token_hex(8)}")
    facts: dict[str, Any] = field(default_factory=dict)
    leaked_fd: int = -1
    _listeners: list[socket.socket] = field(default_factory=list)
    _victim: subprocess.Popen[str] | None = None
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _wake: tuple[int, int] = field(default_factory=os.pipe)
    _thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Put everything in its place."""
        self._files()
        self._services()
        self._victim_process()
        self._shared_memory()
        self._key()
        self.facts |= {
            "secret": self.secret,
            "uid": os.getuid(),
            "host_name": os.uname().nodename,
            "longer_s": 2,
        }
        os.environ["OPENSTALL_CAMPAIGN_SECRET"] = self.secret
        self.leaked_fd = os.open(self.folder / "home" / "wallet.json", os.O_RDONLY)
        os.set_inheritable(self.leaked_fd, True)

    def refresh(self) -> None:
        """Put back what an attempt may have taken."""
        out = self.folder / "out"
        if out.exists():
            remove_tree(out)
        out.mkdir()
        (self.folder / "home" / "to-delete").write_text("x")
        (self.folder / "home" / "to-rename").write_text("x")
        (self.folder / "home" / "to-change").write_text("xyz")

    def close(self) -> None:
        """Take it all away."""
        os.write(self._wake[1], b"x")
        if self._thread is not None:
            self._thread.join()
        for end in self._listeners:
            end.close()
        if self._victim is not None and self._victim.stdin is not None:
            self._victim.stdin.close()
            self._victim.wait()
        Path("/dev/shm", self.facts["shm_name"]).unlink(missing_ok=True)
        _LIBC.shmctl(self.facts["shm_id"], 0, None)
        if self.facts.get("key_id"):
            _LIBC.syscall(_key_numbers()[1], 21, self.facts["key_id"], -4, 0, 0)
        os.close(self.leaked_fd)
        remove_tree(self.folder)

    def _files(self) -> None:
        for name in ("home/.ssh", "run", "other-job", "shared", "runtime", "inputs"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        home = self.folder / "home"
        for name in (".ssh/id_ed25519", "wallet.json", "api.json"):
            (home / name).write_text(json.dumps({"secret": self.secret}))
            (home / name).chmod(0o600)
        (self.folder / "other-job" / "data.csv").write_text(self.secret)
        (self.folder / "inputs" / "data.csv").write_text("a,b\n1,2\n")
        (self.folder / "shared").chmod(0o777)
        (home / "link").symlink_to("host-and-process-of-the-owner")
        self.refresh()
        self.facts |= {
            "home": str(home),
            "other_job": str(self.folder / "other-job"),
            "shared": str(self.folder / "shared"),
            "runtime": [str(self.folder / "runtime"), "/rt"],
        }

    def _services(self) -> None:
        run = self.folder / "run"
        tag = secrets.token_hex(4)
        self.facts |= {
            "abstract": f"openstall-{tag}",
            "x11": f"/tmp/.X11-unix/X{tag}",
            "agent_socket": str(run / "agent.sock"),
            "bus": str(run / "bus"),
            "wayland": str(run / "wayland-0"),
        }
        for name in ("abstract", "x11"):
            self._listen(socket.AF_UNIX, "\0" + self.facts[name])
        for name in ("agent_socket", "bus", "wayland"):
            self._listen(socket.AF_UNIX, self.facts[name])
        self.facts["tcp"] = self._listen(socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
        try:
            self.facts["tcp6"] = self._listen(socket.AF_INET6, ("::1", 0)).getsockname()[1]
        except OSError:
            self.facts["tcp6"] = 0
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        self._listeners.append(udp)
        self._selector.register(udp, selectors.EVENT_READ)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        self.facts["udp"] = udp.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _listen(self, family: int, address: Any) -> socket.socket:
        end = socket.socket(family, socket.SOCK_STREAM)
        end.bind(address)
        end.listen(8)
        self._listeners.append(end)
        self._selector.register(end, selectors.EVENT_READ)
        return end

    def _serve(self) -> None:
        while True:
            for key, _events in self._selector.select():
                if key.fileobj == self._wake[0]:
                    return
                end = key.fileobj
                if not isinstance(end, socket.socket):
                    continue
                if end.type == socket.SOCK_DGRAM:
                    end.sendto(self.secret.encode(), end.recvfrom(100)[1])
                else:
                    with end.accept()[0] as guest:
                        guest.sendall(self.secret.encode())

    def _victim_process(self) -> None:
        self._victim = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _VICTIM,
                self.secret,
                str(self.folder / "home" / "wallet.json"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"TOKEN": self.secret},
        )
        assert self._victim.stdout is not None
        address, fd = self._victim.stdout.readline().split()
        self._victim.stdout.close()
        self.facts["group"] = os.getpgid(self._victim.pid)
        self.facts |= {"victim": self._victim.pid, "victim_address": int(address), "victim_fd": int(fd)}

    def _shared_memory(self) -> None:
        self.facts["shm_name"] = f"openstall-{secrets.token_hex(4)}"
        path = Path("/dev/shm", self.facts["shm_name"])
        path.write_text(self.secret)
        path.chmod(0o600)
        made = _LIBC.shmget(0, 4096, 0o1600)
        self.facts["shm_id"] = made
        _LIBC.shmat.restype = ctypes.c_void_p
        address = _LIBC.shmat(made, None, 0)
        ctypes.memmove(address, self.secret.encode(), len(self.secret))
        _LIBC.shmdt(ctypes.c_void_p(address))

    def _key(self) -> None:
        name, data = f"openstall-{secrets.token_hex(4)}", self.secret.encode()
        made = _LIBC.syscall(_key_numbers()[0], b"user", name.encode(), data, len(data), -4)
        if made > 0:
            # readable by whoever has the same user id, as a key of a desktop session is
            _LIBC.syscall(_key_numbers()[1], 5, made, 0x3F3F0000)
        self.facts |= {"key": name if made > 0 else "", "key_id": max(made, 0)}


def _key_numbers() -> tuple[int, int]:
    return _KEY_NUMBERS[os.uname().machine]
