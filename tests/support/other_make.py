"""A peer of another make as a process of its own, told by JSON lines what to do."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1] / "interop" / "js"
NODE = Path(sys.executable).with_name("node")
PATIENCE_S = 60.0


class OtherMake:
    """One js-libp2p peer."""

    def __init__(self, name: str, **settings: Any) -> None:
        """Starts it."""
        self.seed = os.urandom(32)
        words = json.dumps({"name": name, "seed": self.seed.hex(), **settings})
        self._process = subprocess.Popen(
            [NODE, HERE / "peer.mjs", words],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.events: list[dict[str, Any]] = []
        self.notes: dict[str, Any] = {}
        threading.Thread(target=self._read, daemon=True).start()
        self.peer_id = str(self.event("ready")["peer"])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def do(self, name: str, /, **rest: Any) -> dict[str, Any]:
        """What came of a command; its own refusal is an answer too."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": name, **rest}) + "\n")
        self._process.stdin.flush()
        while "did" not in (line := self._lines.get(timeout=PATIENCE_S)):
            self.events.append(line)
        assert line["did"] == name
        return line

    def done(self, name: str, /, **rest: Any) -> dict[str, Any]:
        """What came of a command that must not fail."""
        answer = self.do(name, **rest)
        assert "error" not in answer, answer
        return answer

    def event(self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next event of a kind, also one that has come before."""
        while True:
            for at, line in enumerate(self.events):
                if line["event"] == kind and fits(line):
                    return self.events.pop(at)
            self.events.append(self._lines.get(timeout=PATIENCE_S))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def other_makes() -> Iterator[Callable[..., OtherMake]]:
    """Makes such peers, and ends them all."""
    made: list[OtherMake] = []

    def make(name: str, **settings: Any) -> OtherMake:
        made.append(OtherMake(name, **settings))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()
