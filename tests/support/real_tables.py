"""Real tables as a shop owner would have them: wines and handwritten digits, as scikit-learn ships them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from openstall.compute_agent.runtime import find_runtime

WINE = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity",
    "magnesium",
    "phenols",
    "flavanoids",
    "nonflavanoids",
    "proanthocyanins",
    "color",
    "hue",
    "od280",
    "proline",
    "cultivar",
)
CULTIVARS = ("barolo", "grignolino", "barbera")


def _data() -> Path:
    return find_runtime().site_packages / "sklearn" / "datasets" / "data"


def wine(path: Path, *, delimiter: str = ",", decimal: str = ".") -> Path:
    """178 wines, 13 measurements, three cultivars."""
    with (_data() / "wine_data.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(WINE)
        for row in rows:
            cells = [cell.replace(".", decimal) for cell in row[:-1]]
            writer.writerow([*cells, CULTIVARS[int(row[-1])]])
    return path


def digits(path: Path) -> Path:
    """1,797 handwritten digits of 8 by 8 points."""
    with gzip.open(_data() / "digits.csv.gz", "rt", newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"p{n}" for n in range(64)), "digit"])
        writer.writerows([[*row[:-1], str(int(float(row[-1])))] for row in rows])
    return path
