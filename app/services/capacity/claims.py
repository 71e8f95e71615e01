"""What a machine claims to be able to: measured here, signed, published beside the offer, and looked up."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.services.capacity.testbench import STATES, Proof, Testbench
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.checking import Tell
from openstall.app.services.orders.blob_access import BlobAccess, check_blob
from openstall.app.services.orders.placing import Party
from openstall.app.services.renting import OFFER_KEY
from openstall.app.threads import Workers
from openstall.compute_agent.disk_speed import disk_speed
from openstall.market.capacity import claim_seed, opened_segments, work_seed
from openstall.market.errors import NotFound
from openstall.market.fields import BlobRef, body_as_dict
from openstall.market.records import (
    LEAST_WORK_MS,
    MOST_SEGMENT_STEPS,
    MOST_WORK_MS,
    Capacity,
    Figure,
    SignedRecord,
    Work,
)
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.store.settings import Settings

TYPE = "capacity"
LIFE_S = 30 * 86_400
_SEGMENTS = {"cpu": 16, "cuda": 256}
_PROOFS = "capacity.proofs"
_NO_FILE = BlobRef(cid="b" + "a" * 58, size=0, sha256="00" * 32)


@dataclass(slots=True, kw_only=True)
class Claims:
    """Makes this node's claim, and reads those of others."""

    me: Party
    catalogue: Catalogue
    bench: Testbench
    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    settings: Settings
    workers: Workers
    clock: Clock
    folder: Path
    line: Callable[[], Awaitable[list[Figure]]]
    """What can be said of this node's line; nothing where no peer answers."""

    async def measure(
        self, *, devices: list[str], threads: int, seconds: int, bond: str, progress: Tell
    ) -> SignedRecord:
        """Run the benchmark, then the works of all devices at once, and publish the claim.

        Args:
            seconds: about how long the work of each device takes.

        Raises:
            SandboxError: no sandbox, or no such device.
        """
        measured_at = self.clock.now()
        figures, drafts, runtime = [], [], ""
        for device in devices:
            progress(f"Measuring {device}")
            found = await self.bench.benchmark(
                device, threads=threads, seconds=1 + seconds // 5, progress=progress
            )
            figures += msgspec.convert(found["figures"], list[Figure])
            runtime = str(found["runtime"])
            drafts.append(_draft(found, device, threads=threads, seconds=seconds))
        figures += [
            Figure(name=name, device="cpu", value=value, unit="MB/s")
            for name, value in (await self.workers.work(disk_speed, self.folder)).items()
        ]
        progress("Measuring the line to another peer")
        figures += await self.line()
        progress("Running the works of all devices at once")
        seed = claim_seed(self.me.network, self.me.peer_id, measured_at)
        works = await self._run_at_once(drafts, seed)
        return await self._publish(
            Capacity(
                measured_at=measured_at,
                runtime=runtime,
                figures=figures,
                works=works,
                bond=bond,
                chain_id=self.me.chain_id,
            )
        )

    async def name_bond(self, bond: str) -> SignedRecord | None:
        """Publish the present claim anew with another bond (or none); None where there is no claim."""
        live = await self.live(self.me.peer_id)
        if live is None:
            return None
        return await self._publish(msgspec.structs.replace(claim_of(live), bond=bond))

    async def live(self, peer_id: str) -> SignedRecord | None:
        """What a peer claims now of the machine that it rents out."""
        return await self.catalogue.live_of(peer_id, TYPE, OFFER_KEY)

    async def at(self, peer_id: str, at: int) -> SignedRecord | None:
        """What a peer claimed, as far as this node knew, at a past moment."""
        return await self.catalogue.held_at(peer_id, TYPE, OFFER_KEY, at=at)

    async def check_proof(self, record: SignedRecord, progress: Tell) -> dict[str, Any]:
        """Fetch the proofs of a claim and compute their opened segments again here.

        Raises:
            PeerError: the author cannot be reached. SandboxError: no sandbox here.
        """
        claim = claim_of(record)
        wrong: dict[str, str] = {}
        root = claim_seed(record.record.network, record.record.author, claim.measured_at)
        for at, work in enumerate(claim.works):
            if work.seed != work_seed(root, at):
                wrong[work.device] = "the seed of another peer or time"
                continue
            progress(f"Fetching the proof for {work.device}")
            opened = opened_segments("", work.digests)
            known = self.blobs.have(work.proof.cid)
            path = await self.fetch(work.proof, record.record.author, len(opened) * work.size**2)
            try:
                fault = await self.bench.check(
                    work, work.seed, list(work.digests), opened, path, progress=progress
                )
            finally:
                if not known:  # what was here before is not ours to remove
                    with trio.CancelScope(shield=True):
                        await self.blobs.remove(work.proof.cid)
            if fault:
                wrong[work.device] = fault
        return {"cid": record.cid, "right": not wrong, "wrong": wrong}

    async def fetch(self, blob: BlobRef, peer_id: str, size: int) -> Path:
        """A file of another peer that must have exactly that size; it stays in the blob store.

        Raises:
            PeerError: not to be had. InvalidOrder: not what was named.
        """
        info = await self.transfer.fetch(blob.cid, [peer_id], expected_size_max=size)
        check_blob(info, blob)
        return self.blobs.path(info.cid)

    def restore_access(self) -> None:
        """Let everybody fetch the proofs of the present claim; blocks."""
        for cid in self.settings.get(_PROOFS, []):
            self.access.make_public(cid)

    async def _run_at_once(self, drafts: list[Work], seed: str) -> list[Work]:
        place = self.folder / f"claim-{secrets.token_hex(6)}"
        works: list[Work] = list(drafts)

        async def one(at: int, draft: Work) -> None:
            keep = place / str(at)
            within_s = 4 * MOST_WORK_MS / 1000
            own = work_seed(seed, at)
            proof = await self.bench.prove(draft, own, keep=keep, within_s=within_s)
            works[at] = await self._with_proof(draft, own, proof, keep)

        try:
            async with trio.open_nursery() as nursery:
                for at, draft in enumerate(drafts):
                    nursery.start_soon(one, at, draft)
        finally:
            with trio.CancelScope(shield=True):
                await self.workers.work(shutil.rmtree, place, ignore_errors=True)
        return works

    async def _with_proof(self, draft: Work, seed: str, proof: Proof, keep: Path) -> Work:
        opened = opened_segments("", proof.digests)
        await self.bench.cut(keep / STATES, draft, opened, keep / "opened.bin")
        info = await self.blobs.add_file(keep / "opened.bin")
        return msgspec.structs.replace(
            draft,
            ms=min(max(proof.elapsed_ms, LEAST_WORK_MS), MOST_WORK_MS),
            seed=seed,
            digests=proof.digests,
            proof=BlobRef(cid=info.cid, size=info.size, sha256=info.sha256),
        )

    async def _publish(self, claim: Capacity) -> SignedRecord:
        cids = [work.proof.cid for work in claim.works]
        before = await self.workers.store(self.settings.get, _PROOFS, [])
        await self.workers.store(self.settings.set, _PROOFS, cids)
        for cid in cids:
            self.access.make_public(cid)
        signed = await self.catalogue.publish(TYPE, OFFER_KEY, body_as_dict(claim), life_s=LIFE_S)
        for cid in set(before) - set(cids):
            await self.blobs.remove(cid)
        return signed


def claim_of(record: SignedRecord) -> Capacity:
    """The claim in a record.

    Raises:
        NotFound: the record is something else.
    """
    if not isinstance(record.body, Capacity):
        raise NotFound("no_claim", "That is not a claim about a machine.")
    return record.body


def _draft(found: dict[str, Any], device: str, *, threads: int, seconds: int) -> Work:
    """A work that takes about so long at the measured rate, in segments that others can check."""
    size, segments = int(found["size"]), _SEGMENTS[device.split(":", maxsplit=1)[0]]
    rate = next(item["value"] for item in found["figures"] if item["name"] == "chain_rounds") / 1000
    rounds = max(1, min(round(rate * seconds / segments), MOST_SEGMENT_STEPS // size**3))
    return Work(
        device=device,
        threads=threads,
        size=size,
        segments=segments,
        rounds=rounds,
        ms=LEAST_WORK_MS,
        seed="00" * 32,
        digests=["00" * 32] * (segments + 1),
        proof=_NO_FILE,
    )
