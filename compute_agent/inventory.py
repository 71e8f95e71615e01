"""What the machine has: processor, memory, disk, GPUs. Claimed by the system, not proved."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

import psutil

from openstall.compute_agent.graphics import cross_check, graphics_cards
from openstall.compute_agent.specs import Gpu, Inventory

_LOAD_INTERVAL_S = 0.1


def probe_machine() -> Inventory:
    """Read the inventory. Blocks 0.1 s for the load; never fails for want of a GPU."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(tempfile.gettempdir())
    gpus, note = probe_gpus()
    return Inventory(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_name=cpu_name(),
        cores_physical=psutil.cpu_count(logical=False) or 1,
        cores_logical=psutil.cpu_count(logical=True) or 1,
        memory_bytes=memory.total,
        memory_free_bytes=memory.available,
        disk_free_bytes=disk.free,
        disk_bytes=disk.used + disk.free,
        load_percent=round(psutil.cpu_percent(interval=_LOAD_INTERVAL_S)),
        gpus=gpus,
        gpu_note="; ".join(words for words in (note, cross_check(gpus, graphics_cards())) if words),
    )


def probe_gpus() -> tuple[tuple[Gpu, ...], str]:
    """NVIDIA GPUs by their driver's library, and why there are none if there are none."""
    try:
        import pynvml
    except ImportError:
        return (), "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return (), "no NVIDIA driver is installed"
    except pynvml.NVMLError as error:
        return (), f"no NVIDIA GPU: {error}"
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.append(
                Gpu(
                    id=str(pynvml.nvmlDeviceGetUUID(device)),
                    name=str(pynvml.nvmlDeviceGetName(device)),
                    memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
                    driver=driver,
                )
            )
        return tuple(found), "" if found else "the driver reports no GPU"
    except pynvml.NVMLError as error:
        return (), f"the NVIDIA driver does not answer: {error}"
    finally:
        pynvml.nvmlShutdown()


def cpu_name() -> str:
    """What the processor calls itself."""
    return _cpu_line("model name") or platform.processor() or platform.machine()


def cpu_flags() -> str:
    """What it can do, in the kernel's words; empty where that is not told."""
    return _cpu_line("flags") or _cpu_line("Features")


def _cpu_line(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == name), "")
