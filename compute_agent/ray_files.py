"""Files of a job on their way from a Ray worker, and whether what came is what the job may leave."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from openstall.compute_agent.jobs import allowed_outputs
from openstall.compute_agent.specs import JobResult, JobSpec, OutputFile, is_plain_file_name
from openstall.market.errors import SandboxError


class Incoming:
    """Files of a job on their way from the worker: one after the other, within the job's disk space."""

    def __init__(self, outputs: Path, spec: JobSpec) -> None:
        outputs.mkdir(parents=True, exist_ok=True)
        self._folder = folder = outputs.with_name("incoming")
        self._left = 2 * spec.limits.disk_bytes
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, piece: bytes) -> None:
        """The next piece of the file that is coming."""
        if self._file is None:
            self._file, self._digest = (self._folder / "part").open("wb"), hashlib.sha256()
        self._left -= len(piece)
        if self._left < 0:
            raise SandboxError("output_too_large", "The worker sent more than the job may leave.")
        self._digest.update(piece)
        self._file.write(piece)

    def end(self, name: str) -> OutputFile:
        """The file is whole; it goes by this name from now on."""
        if not is_plain_file_name(name):
            raise SandboxError(
                "output_unexpected", "The worker sent a file with a name that no job can have."
            )
        if self._file is None:
            self.add(b"")
        if self._file is not None:
            self._file.close()
        self._file = None
        path = (self._folder / "part").replace(self._folder / name)
        return OutputFile(name=name, size=path.stat().st_size, sha256=self._digest.hexdigest())

    def move(self, names: Iterable[str], target: Path) -> None:
        """Hand files on."""
        for name in names:
            path = self._folder / name
            self._left += path.stat().st_size
            shutil.move(path, target / name)

    def close(self) -> None:
        """Remove what is left."""
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def checked(spec: JobSpec, files: Mapping[str, OutputFile], result: JobResult) -> JobResult:
    """The worker's result, if its files are those that came and that the job may leave."""
    caps = allowed_outputs(spec)
    if result.state != "done" and not result.outputs:
        return result
    named = {one.name: one for one in result.outputs}
    fit = set(named) == set(caps) and all(
        files.get(name) == one and one.size <= caps[name] for name, one in named.items()
    )
    if not fit or result.state != "done":
        return JobResult(
            state="failed",
            reason="agent_error",
            words="The results did not come whole from the machine of the cluster.",
            what_next="Send the job again; only the seconds already counted can be owed.",
            usage=result.usage,
        )
    return result
