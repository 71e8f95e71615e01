"""The bus of a machine is read as it is, and held against what a driver says."""

from __future__ import annotations

from pathlib import Path

from openstall.compute_agent.graphics import Card, cross_check, graphics_cards
from openstall.compute_agent.specs import Gpu

GPU = Gpu(id="GPU-1", name="A GPU", memory_bytes=2**33, driver="570")


def plug(bus: Path, place: str, kind: str, vendor: str, driver: str = "") -> None:
    folder = bus / place
    folder.mkdir(parents=True)
    (folder / "class").write_text(f"{kind}\n")
    (folder / "vendor").write_text(f"{vendor}\n")
    if driver:
        (folder / "driver").symlink_to(f"../../drivers/{driver}")


def test_only_cards_count_and_a_device_that_is_just_unplugged_is_left_out(tmp_path: Path) -> None:
    plug(tmp_path, "0000:00:1f.0", "0x060100", "0x8086")
    plug(tmp_path, "0000:01:00.0", "0x030200", "0x10de", "nvidia")
    plug(tmp_path, "0000:02:00.0", "0x030000", "0x1002")
    (tmp_path / "0000:03:00.0").mkdir()
    assert graphics_cards(tmp_path) == (
        Card(vendor="NVIDIA", driver="nvidia"),
        Card(vendor="AMD", driver=""),
    )
    assert graphics_cards(tmp_path / "nothing") is None


def test_driver_and_bus_must_agree() -> None:
    card, other = Card(vendor="NVIDIA", driver="nvidia"), Card(vendor="AMD", driver="amdgpu")
    assert cross_check([GPU], [card]) == ""
    assert cross_check([], []) == ""
    assert cross_check([GPU], None) == ""
    assert "names 1 GPUs, the system shows 0" in cross_check([GPU], [])
    assert "names 0 GPUs, the system shows 2" in cross_check([], [card, card])
    assert cross_check([GPU], [card, other]) == "cards that jobs cannot use yet: 1 of AMD"
