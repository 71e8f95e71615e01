"""Graphics processors in a sandbox: the rented devices, the driver's library, and a few made-up system files.

NVIDIA's library wants to know where its stack lies, which devices there are and how the driver was set up,
and reads it from /proc. A job sees no procfs: that names the owner's paths and load. It gets files with
just these answers instead (`gpu_proc`), measured with driver 580 on an H100; see docs/sandbox.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openstall.market.errors import SandboxError

_PAPER: Final = Path(__file__).with_name("gpu_proc")
_COMMON_NODES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm")
_HOST_FACTS: Final = ("/proc/devices", "/proc/driver/nvidia/params", "/proc/sys/vm/mmap_min_addr")
_PAPER_FACTS: Final = ("/proc/self/maps", "/proc/self/status")
_FOLDERS: Final = (
    *("/proc/self", "/proc/self/task", "/proc/self/thread"),
    *("/proc/driver", "/proc/driver/nvidia", "/proc/sys", "/proc/sys/vm"),
)
_THREADS: Final = 512
"""The driver's library names its threads, by their number, and gives up where it cannot."""
_LIBRARY: Final = "libcuda.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Devices that one sandbox may use.

    `ids` are the driver's, `facts` the host's files that its library reads; `libraries` is the folder of the
    latter, empty below /usr/lib, which every sandbox sees.
    """

    ids: tuple[str, ...]
    nodes: tuple[str, ...]
    facts: tuple[str, ...]
    libraries: str = ""

    @property
    def mounts(self) -> list[str]:
        """For bubblewrap, after its own /dev."""
        arguments: list[str] = []
        for node in self.nodes:
            arguments += ["--dev-bind", node, node]
        above = [str(path) for path in reversed(Path(self.libraries).parents) if path.name]
        for folder in (*_FOLDERS, *above):
            # bubblewrap gives the parents it makes itself mode 0700: shut to a dropped id
            arguments += ["--perms", "0755", "--dir", folder]
        for path in self.facts:
            arguments += ["--ro-bind", path, path]
        for path in _PAPER_FACTS:
            arguments += ["--ro-bind", str(_PAPER / path.removeprefix("/proc/")), path]
        # the names that threads are given go nowhere
        arguments += ["--dev-bind", "/dev/null", "/proc/self/thread/comm"]
        for number in range(1, _THREADS):
            arguments += ["--symlink", "../thread", f"/proc/self/task/{number}"]
        return [*arguments, *(("--ro-bind", self.libraries, self.libraries) if self.libraries else ())]

    @property
    def readable(self) -> list[str]:
        """What a job may open for reading because of the devices."""
        return [*self.facts, *_PAPER_FACTS, *([self.libraries] if self.libraries else [])]


def find_grant(ids: Sequence[str]) -> Grant:
    """What it takes to let a job use these devices, and no others.

    Raises:
        SandboxError: `no_gpu`, the driver, a device or its library is not there.
    """
    nvml = open_driver()
    try:
        numbers = [nvml.nvmlDeviceGetMinorNumber(nvml.nvmlDeviceGetHandleByUUID(name)) for name in ids]
        library = _library_folder()
    except nvml.NVMLError as error:
        raise no_gpu(f"the driver does not know the device: {error}") from error
    finally:
        nvml.nvmlShutdown()
    nodes = (*_COMMON_NODES, *(f"/dev/nvidia{number}" for number in numbers))
    missing = [path for path in (*nodes, *_HOST_FACTS) if not Path(path).exists()]
    if missing:
        raise no_gpu(f"{missing[0]} is not there")
    if not (library / _LIBRARY).exists():
        raise no_gpu(f"{_LIBRARY} is not beside the driver's other libraries")
    seen = library.is_relative_to("/usr/lib") or library.is_relative_to("/usr/lib64")
    return Grant(ids=tuple(ids), nodes=nodes, facts=_HOST_FACTS, libraries="" if seen else str(library))


def open_driver() -> Any:
    """The driver's management library, opened; the caller shuts it down.

    Raises:
        SandboxError: `no_gpu`, there is none.
    """
    try:
        import pynvml
    except ImportError as error:
        raise no_gpu("nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise no_gpu(f"there is no NVIDIA driver: {error}") from error
    return pynvml


def no_gpu(words: str) -> SandboxError:
    """The error for a device that cannot be used."""
    return SandboxError(
        "no_gpu",
        f"The graphics card cannot be used by jobs: {words}.",
        "Install NVIDIA's driver, or leave the graphics card out of what is offered.",
    )


def _library_folder() -> Path:
    """Where the driver's libraries lie: beside the one that this process has open."""
    for line in Path("/proc/self/maps").read_text("utf-8", "replace").splitlines():
        name = line.rpartition(" ")[2]
        if "/libnvidia-ml.so" in name:
            return Path(name).resolve().parent
    raise no_gpu("the driver's libraries were not found")
