"""What a batch is asked to do, and its tables cut into parts: copies of its own, so that it can go on."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.market.errors import Refused, StoreError

MOST_PARTS = 200
MOST_AT_ONCE = 16
MOST_TRIES = 5
MODEL = "model.onnx"
_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A batch as a person asks for it; `cap_micro` is for all orders together.

    One file is cut into parts of `rows_per_part` rows; several files are a part each. `offers` narrows it to
    the providers of these offers; `max_price_micro` to those who ask no more per second.
    """

    model: Path
    files: list[Path]
    folder: Path
    cap_micro: int
    max_s: int
    rows_per_part: int = 0
    label: str = ""
    offers: list[str]
    max_price_micro: int = 0
    at_once: int = 2
    tries: int = 3


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One table; `file` is its name among the batch's own copies, `name` the one that results bear."""

    name: str
    file: str
    rows: int
    sha256: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, as it is kept in the books."""

    model: str
    model_sha256: str
    parts: list[Part]
    params: dict[str, Any]
    folder: str
    split: bool
    cap_micro: int
    part_cap_micro: int
    max_s: int
    providers: list[str]
    max_price_micro: int
    at_once: int
    tries: int


def check(request: BatchRequest) -> None:
    """Raises Refused with words where it cannot be done like that."""
    if not request.files:
        raise Refused("bad_batch", "A batch needs at least one table.")
    if request.rows_per_part and len(request.files) > 1:
        raise Refused("bad_batch", "Only a single table can be cut into parts.")
    if not 1 <= request.at_once <= MOST_AT_ONCE or not 1 <= request.tries <= MOST_TRIES:
        raise Refused(
            "bad_batch",
            f"A batch runs 1 to {MOST_AT_ONCE} jobs at once and tries each 1 to {MOST_TRIES} times.",
        )
    for path in (request.model, *request.files):
        if not path.is_file():
            raise Refused("no_such_file", f"There is no file {path}.", "Name another one.")
    if request.folder.exists() and (not request.folder.is_dir() or any(request.folder.iterdir())):
        raise Refused("folder_in_use", f"{request.folder} is not an empty folder.", "Name another one.")


def copy_in(request: BatchRequest, place: Path) -> tuple[str, list[Part]]:
    """Copy model and tables to `place`; the model's SHA-256 and the parts. Blocks on the disk.

    Raises:
        Refused: more than `MOST_PARTS`, or a table that cannot be cut.
        StoreError: no room.
    """
    place.mkdir(parents=True)
    try:
        shutil.copyfile(request.model, place / MODEL)
        if request.rows_per_part:
            parts = list(_cut(request.files[0], request.rows_per_part, place))
        else:
            parts = [_whole(path, number, place) for number, path in enumerate(request.files)]
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise StoreError(
            "disk_full", f"The batch cannot be copied: {error.strerror}.", "Free space."
        ) from error
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return digest(place / MODEL), parts


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(path: Path, number: int, place: Path) -> Part:
    if number >= MOST_PARTS:
        raise _too_many()
    name = f"{number + 1:03}-{_PLAIN.sub('-', path.stem)[:60].strip('-') or 'table'}"
    copy = place / f"{name}.csv"
    shutil.copyfile(path, copy)
    return Part(name=name, file=copy.name, rows=0, sha256=digest(copy))


def _cut(path: Path, rows_per_part: int, place: Path) -> Iterator[Part]:
    """Parts of so many rows, each with the header; quoted cells may hold lines of their own."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, None)
            if header is None:
                raise Refused("bad_csv", f"{path.name} is empty.")
            number, left = 0, next(rows, None)
            while left is not None:
                if number >= MOST_PARTS:
                    raise _too_many()
                copy = place / f"part-{number + 1:03}.csv"
                count = 0
                with copy.open("w", encoding="utf-8", newline="") as target:
                    writer = csv.writer(target, lineterminator="\n")
                    writer.writerow(header)
                    while left is not None and count < rows_per_part:
                        if left:
                            writer.writerow(left)
                            count += 1
                        left = next(rows, None)
                if count:
                    yield Part(name=copy.stem, file=copy.name, rows=count, sha256=digest(copy))
                    number += 1
            if not number:
                raise Refused("bad_csv", f"{path.name} has a header but no rows.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused("bad_csv", f"{path.name} cannot be cut into parts: {error}.", "Correct it.") from error


def _too_many() -> Refused:
    return Refused(
        "too_many_parts", f"A batch has {MOST_PARTS} parts at most.", "Put more rows into each part."
    )
