"""Nothing secret reaches the log, by three nets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from openstall.app.logging import Secrets, configure, get_logger
from openstall.ledger.keys import new_words


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    kept, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield tmp_path / "node.jsonl"
    root = logging.getLogger()
    for handler in root.handlers:
        if handler not in kept:
            handler.close()
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.reset_defaults()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_secrets_are_blanked_by_name_value_and_shape(log_file: Path) -> None:
    secrets = Secrets()
    configure(log_file, level="info", secrets=secrets)
    secrets.add("correct horse battery", "tok-123")
    words = " ".join(new_words())
    log = get_logger("openstall.test")
    log.info("by name", passphrase="a", words=["b"], nested={"token": "c"}, peer_seed="dd", order="kept")
    log.info("by value", text="said correct horse battery aloud", items=["tok-123"])
    log.info("by shape", text=f"they are {words}!", header="Authorization: Bearer abcdef")
    try:
        raise ValueError(f"cannot open with correct horse battery and {words}")
    except ValueError:
        log.exception("in a traceback")
    logging.getLogger("openstall.p2p").warning("from a library: %s", "tok-123")
    text = log_file.read_text()
    for secret in ("correct horse battery", "tok-123", words, "abcdef", '"a"', '"b"', '"c"', '"dd"'):
        assert secret not in text
    found = lines(log_file)
    assert found[0]["order"] == "kept"
    assert found[0]["nested"] == {"token": "[hidden]"}
    assert len(found) == 5
    assert all(line["level"] and line["timestamp"] for line in found)


def test_file_is_private_and_bytes_are_not_printed(log_file: Path) -> None:
    configure(log_file, level="info", secrets=Secrets())
    get_logger("openstall.test").info("raw", raw=b"\x01" * 32)
    assert lines(log_file)[0]["raw"] == "32 bytes"
    assert log_file.stat().st_mode & 0o077 == 0


def test_ordinary_text_is_left_alone(log_file: Path) -> None:
    secrets = Secrets()
    secrets.add("a", "")
    configure(log_file, level="info", secrets=secrets)
    get_logger("openstall.test").info("a part is ready", tx="0x" + "ab" * 32)
    assert lines(log_file)[0]["event"] == "a part is ready"
    assert lines(log_file)[0]["tx"] == "0x" + "ab" * 32
