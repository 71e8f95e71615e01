"""Graphics cards as the system's bus shows them: a second witness beside the driver's own library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openstall.compute_agent.specs import Gpu

PCI_DEVICES: Final = Path("/sys/bus/pci/devices")
_DISPLAY_CLASS: Final = "0x03"
_VENDORS: Final = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A display or compute card on the bus; `vendor` is a name where it is known, else its id."""

    vendor: str
    driver: str


def graphics_cards(devices: Path = PCI_DEVICES) -> tuple[Card, ...] | None:
    """The cards on the PCI bus; None where the system does not show its bus."""
    if not devices.is_dir():
        return None
    found = []
    for device in sorted(devices.iterdir()):
        try:
            kind = (device / "class").read_text("ascii", "replace").strip()
            vendor = (device / "vendor").read_text("ascii", "replace").strip()
            driver = (device / "driver").readlink().name if (device / "driver").is_symlink() else ""
        except OSError:
            continue  # unplugged while we looked
        if kind.startswith(_DISPLAY_CLASS):
            found.append(Card(vendor=_VENDORS.get(vendor, vendor), driver=driver))
    return tuple(found)


def cross_check(gpus: Sequence[Gpu], cards: Sequence[Card] | None) -> str:
    """What driver and bus do not agree on, in words; empty where they do or the bus is not shown."""
    if cards is None:
        return ""
    counts = Counter(card.vendor for card in cards)
    words = []
    if len(gpus) != counts["NVIDIA"]:
        words.append(
            f"the NVIDIA driver names {len(gpus)} GPUs, the system shows {counts['NVIDIA']} NVIDIA cards"
        )
    others = sorted(vendor for vendor in counts if vendor != "NVIDIA" and vendor in _VENDORS.values())
    if others:
        cards_of = ", ".join(f"{counts[vendor]} of {vendor}" for vendor in others)
        words.append(f"cards that jobs cannot use yet: {cards_of}")
    return "; ".join(words)
