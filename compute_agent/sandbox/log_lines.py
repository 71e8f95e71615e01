"""A job's log made harmless: a hostile byte stream, cut into bounded lines without control characters."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LINE_CHARS: Final = 2000
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)")


def plain_text(raw: bytes) -> str:
    """`raw` as one harmless line: no control, format or surrogate characters, bounded length."""
    text = _TERMINAL.sub("", raw.decode("utf-8", "replace")).expandtabs(4)
    kept = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
    return kept if len(kept) <= _LINE_CHARS else kept[:_LINE_CHARS] + "…"


class LogLines:
    """Cuts a hostile byte stream into harmless lines and keeps no more than `cap_bytes` of it."""

    def __init__(self, *, cap_bytes: int) -> None:
        self.received = 0
        self._cap_bytes = cap_bytes
        self._kept = 0
        self._full = False
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes; a line without end is cut into pieces."""
        self.received += len(data)
        lines: list[str] = []
        self._pending += b"" if self._full else data
        while (end := self._pending.find(b"\n")) >= 0 or len(self._pending) > _LINE_CHARS:
            if not 0 <= end <= _LINE_CHARS:
                lines += self._keep(bytes(self._pending[:_LINE_CHARS]))
                del self._pending[:_LINE_CHARS]
            else:
                lines += self._keep(bytes(self._pending[:end]))
                del self._pending[: end + 1]
        return lines

    def rest(self) -> list[str]:
        """The unfinished last line."""
        line, self._pending = bytes(self._pending), bytearray()
        return self._keep(line) if line else []

    def _keep(self, line: bytes) -> list[str]:
        if self._full:
            return []
        self._kept += len(line) + 1
        if self._kept <= self._cap_bytes:
            return [plain_text(line)]
        self._full = True
        return ["[the log is full: further lines are dropped]"]
