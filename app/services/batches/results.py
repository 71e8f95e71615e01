"""The results folder of a batch: what came back, under the names of its parts, and a manifest of hashes.

Everything is written beside its place and then moved there, so that a kill leaves whole files only.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

from openstall.app.services.batches.plan import Plan, digest
from openstall.market.errors import InvalidOrder, StoreError

MANIFEST = "manifest.json"
WHOLE = "predictions.csv"
_PREDICTIONS = "predictions.csv"


def collect(plan: Plan, number: int, artefacts: Path, signed: dict[str, str]) -> list[dict[str, str]]:
    """Copy a part's artefacts, whose SHA-256 the provider signed, into the folder; name and hash of each.

    Raises:
        InvalidOrder: a file changed on the way here.
        StoreError: the folder cannot be written.
    """
    part, folder = plan.parts[number], Path(plan.folder)
    found = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, sha256 in sorted(signed.items()):
            target = folder / f"{part.name}.{name}"
            beside = target.with_name(f".{target.name}.new")
            shutil.copyfile(artefacts / name, beside)
            if digest(beside) != sha256:
                beside.unlink()
                raise InvalidOrder("wrong_file", f"{name} of {part.name} is not what its provider signed.")
            beside.replace(target)
            found.append({"name": target.name, "sha256": sha256})
    except OSError as error:
        raise _unwritable(folder, error) from error
    return found


def write_manifest(plan: Plan, document: dict[str, Any]) -> None:
    """What there is, and its hashes. Raises StoreError."""
    folder = Path(plan.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{MANIFEST}.new"
        with beside.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / MANIFEST)
    except OSError as error:
        raise _unwritable(folder, error) from error


def join(plan: Plan) -> dict[str, str]:
    """The predictions of all parts of a table that was cut, as one, rows numbered as in the table.

    Raises:
        InvalidOrder: a provider's predictions are not one for each row.
        StoreError: the folder cannot be written.
    """
    folder = Path(plan.folder)
    beside = folder / f".{WHOLE}.new"
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            writer, before = csv.writer(file, lineterminator="\n"), 0
            for number, part in enumerate(plan.parts):
                with (folder / f"{part.name}.{_PREDICTIONS}").open(encoding="utf-8", newline="") as source:
                    rows = csv.reader(source)
                    header = next(rows, [])
                    if number == 0:
                        writer.writerow(header)
                    count = 0
                    for row in rows:
                        count += 1
                        writer.writerow([before + count, *row[1:]])
                if count != part.rows:
                    raise InvalidOrder(
                        "wrong_rows", f"{part.name} came back with {count} rows; it has {part.rows}."
                    )
                before += count
        beside.replace(folder / WHOLE)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(
            "cannot_join", f"The parts cannot be joined: {error}.", "They are there singly."
        ) from error
    return {"name": WHOLE, "sha256": digest(folder / WHOLE)}


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        "folder_unwritable",
        f"The results cannot be written to {folder}: {error.strerror}.",
        "Make the folder writable, or free some space: it is tried again by itself.",
    )
