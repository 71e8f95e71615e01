"""Structured log of the node: one JSON object a line, with nothing secret in it.

Three nets, each enough alone: fields whose name sounds like a secret are blanked, strings that were
registered as secrets (token, passphrase, words) are blanked wherever they occur, and runs of BIP-39
length or raw private keys in exceptions are blanked by shape.
"""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

MAX_LOG_BYTES = 10_000_000
KEPT_LOGS = 3
BLANK = "[hidden]"

_SECRET_NAME = re.compile(
    r"word(s)?$|pass(word|phrase)|token|seed|secret|mnemonic|private|authorization|^sealed_key|^key$",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(r"(?:\b[a-z]{3,8}\b[ ,]+){11,}[a-z]{3,8}\b|Bearer +\S+")
_MIN_SECRET_CHARS = 4


class Secrets:
    """Strings that must never reach the log. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def add(self, *values: str) -> None:
        """Hide these from now on; very short ones are left alone, they would blank ordinary text."""
        with self._lock:
            known = set(self._values) | {v for v in values if len(v) >= _MIN_SECRET_CHARS}
            self._values = tuple(sorted(known, key=len, reverse=True))

    def hide(self, text: str) -> str:
        """The text with every secret blanked."""
        for value in self._values:
            if value in text:
                text = text.replace(value, BLANK)
        return _SECRET_SHAPE.sub(BLANK, text)


class Redaction:
    """structlog processor that applies `Secrets` to every field, however deep."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The event with every secret blanked."""
        return {name: self._clean(name, value) for name, value in event.items()}

    def _clean(self, name: str, value: Any) -> Any:
        if _SECRET_NAME.search(name):
            return BLANK
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {str(key): self._clean(str(key), item) for key, item in value.items()}
            case list() | tuple() | set():
                return [self._clean("", item) for item in value]
            case bytes():
                return f"{len(value)} bytes"
        return self._secrets.hide(str(value))


def configure(path: Path, *, level: str, secrets: Secrets) -> None:
    """Send every log line of this process (also of libraries) to `path`, warnings also to stderr."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            Redaction(secrets),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
    file = logging.handlers.RotatingFileHandler(
        path, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8"
    )
    file.setFormatter(formatter)
    path.chmod(0o600)
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.ERROR)
    console.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [file, console]
    root.setLevel(logging.WARNING)
    logging.getLogger("openstall").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of this application; `name` is the module's."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
