"""What a rig lets in: its owner's limits hold whatever the node says, and files are the node's alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openstall.app.clock import SystemClock
from openstall.app.rig.book import Owner, RigBook
from openstall.app.rig.jobs import Allowed, RigJobs
from openstall.app.rig.traffic import DayTraffic
from openstall.app.services.rigs.files import RigFiles
from openstall.app.services.rigs.wire import FileRef, FromRig, Run
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import MIB, JobKind, JobSpec, Limits
from openstall.market.errors import OpenstallError
from openstall.market.house import HouseRules
from openstall.store.database import Store
from openstall.store.settings import Settings

MOST = Allowed(places=2, threads=4, memory_bytes=4096 * MIB, disk_bytes=1024 * MIB)
NODE = "12D3KooWBW5wTH2jZvrgRLQ7Dq8Y9EejnPwTqB9yPksA35vVYfEa"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    store = Store(tmp_path / "store.sqlite")
    yield Settings(store)
    store.close()


def jobs(tmp_path: Path, settings: Settings, **rules: Any) -> RigJobs:
    async def allowed() -> Allowed:
        return MOST

    async def the_rules() -> HouseRules:
        return HouseRules(**rules)

    async def send(_message: FromRig) -> None:
        """Nobody listens."""

    workers = Workers()
    return RigJobs(
        agent=AgentClient(),
        files=RigFiles.fresh(tmp_path / "files"),
        folder=tmp_path / "jobs",
        node=NODE,
        workers=workers,
        allowed=allowed,
        traffic=DayTraffic(settings=settings, rules=the_rules, workers=workers, clock=SystemClock()),
        begun=lambda: None,
        send=send,
    )


def a_run(
    job_id: str = "job", kind: JobKind = "train", names: tuple[str, ...] = ("data.csv",), **more: Any
) -> Run:
    limits = Limits(**{"threads": 1, "memory_bytes": 1024 * MIB, "disk_bytes": 256 * MIB, **more})
    params = {"task": "classification", "label": "y"} if kind == "train" else {}
    files = tuple(FileRef(name=name, cid="b" + "a" * 58, size=100, sha256="00" * 32) for name in names)
    return Run(spec=JobSpec(job_id=job_id, kind=kind, params=params, limits=limits), inputs=files)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (a_run(threads=5), "above_cap"),
        (a_run(memory_bytes=5000 * MIB), "above_cap"),
        (a_run(disk_bytes=2048 * MIB), "above_cap"),
        (a_run(kind="challenge", names=()), "bad_kind"),
        (a_run(names=("data.csv", "extra.csv")), "bad_job_inputs"),
        (a_run(names=()), "bad_job_inputs"),
        (a_run(names=("../data.csv",)), "bad_file_names"),
        (a_run(names=("data.csv", "data.csv")), "bad_file_names"),
    ],
)
async def test_what_is_not_let_in(tmp_path: Path, settings: Settings, run: Run, code: str) -> None:
    rig = jobs(tmp_path, settings)
    with pytest.raises(OpenstallError) as caught:
        await rig.let_in(run)
    assert caught.value.code == code
    assert rig.guests == {}


async def test_jobs_together_stay_within_what_the_owner_gives(tmp_path: Path, settings: Settings) -> None:
    rig = jobs(tmp_path, settings)
    first = await rig.let_in(a_run("a", threads=3))
    for run, code in (
        (a_run("a"), "job_running"),
        (a_run("b", threads=2), "above_cap"),
        (a_run("b", memory_bytes=3500 * MIB), "above_cap"),
    ):
        with pytest.raises(OpenstallError) as caught:
            await rig.let_in(run)
        assert caught.value.code == code
    await rig.let_in(a_run("b"))
    with pytest.raises(OpenstallError) as caught:
        await rig.let_in(a_run("c"))
    assert "jobs at once" in caught.value.message
    first.ended = True
    await rig.let_in(a_run("c"))


async def test_the_cap_on_a_days_traffic(tmp_path: Path, settings: Settings) -> None:
    rig = jobs(tmp_path, settings, network_bytes_day_cap=250)
    await rig.let_in(a_run("a"))
    await rig.traffic.count(160)
    with pytest.raises(OpenstallError) as caught:
        await rig.let_in(a_run("b"))
    assert caught.value.code == "network_cap"


def test_what_a_rig_remembers(settings: Settings) -> None:
    book = RigBook(settings)
    with pytest.raises(OpenstallError) as caught:
        book.need_owner()
    assert caught.value.code == "not_paired"
    owner = Owner(peer_id=NODE, addrs=("/ip4/192.0.2.7/tcp/4001",), name="mine", paired_at=5)
    book.pair(owner)
    book.call_it("  tower\u202e  2 ")
    book.allow(3)
    again = RigBook(settings)
    assert (again.owner, again.name, again.jobs_at_once) == (owner, "tower 2", 3)
    again.unpair()
    assert again.owner is None
    with pytest.raises(OpenstallError):
        book.call_it("\u200b")
