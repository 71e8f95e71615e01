"""Tries, on any system, the doors that a sandbox must shut, and writes down which opened. Standard library.

What it may find was made for it: a file with a secret, a folder, a listener on this computer. Started bare
it must open all of them, else it shows nothing.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

VARIABLE = "OPENSTALL_PROBE_SECRET"


def attempts(told: Mapping[str, str]) -> dict[str, Callable[[], object]]:
    """What is tried, by the name that the report gives it."""
    secret, outside = Path(told["secret"]), Path(told["outside"])

    def connect() -> None:
        socket.create_connection(("127.0.0.1", int(told["port"])), timeout=5).close()

    def listen() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
            server.bind(("127.0.0.1", 0))
            server.listen()

    def start() -> None:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", "pass"], check=True, capture_output=True, timeout=30
        )

    return {
        "read a file of the owner": secret.read_bytes,
        "list a folder of the owner": lambda: list(outside.iterdir()),
        "write a file of the owner": lambda: secret.write_bytes(b"x"),
        "leave a file with the owner": lambda: (outside / "left").write_bytes(b"x"),
        "reach a listener of this computer": connect,
        "listen for others": listen,
        "start another program": start,
        "see the owner's environment": lambda: os.environ[VARIABLE],
    }


def main() -> None:
    """Try everything; what does not raise is open."""
    told = json.loads(sys.argv[1])
    tried = attempts(told)
    found = []
    for name, attempt in tried.items():
        try:
            attempt()
        except (OSError, KeyError, subprocess.SubprocessError):
            continue
        found.append(name)
    report = json.dumps({"open": found, "tried": list(tried)})
    Path(told["report"]).write_text(report, "utf-8")


if __name__ == "__main__":
    main()
