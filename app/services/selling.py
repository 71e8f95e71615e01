"""The seller's stock: packages that were checked, sealed and listed, and the keys that open them."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.operations import Progress
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.checking import ModelCheck
from openstall.app.services.keys import package_key
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.sealing import describe, seal, seal_key
from openstall.app.threads import Workers
from openstall.market.errors import NotFound, PeerError, Refused, StoreError
from openstall.market.fields import TEXT_ENDINGS, BlobRef, FileEntry, body_as_dict
from openstall.market.orders.documents import SaleTerms
from openstall.market.records import Card, Listing
from openstall.p2p import unixfs
from openstall.p2p.blobs import BlobStore
from openstall.p2p.web_guard import check_url
from openstall.store.settings import Settings

MAX_FILES = 64
_PACKAGE = "package."
LISTING_LIFE_S = 90 * 86_400
SUFFIXES = {".onnx": "onnx", ".safetensors": "safetensors"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingDraft:
    """What a seller fills in; amounts in micro-credits, times in seconds."""

    path: Path
    title: str
    summary: str
    licence: str
    price_micro: int
    card: Card
    arbiter: str = ""
    deliver_s: int = 3600
    review_s: int = 3 * 86_400
    mirrors: tuple[str, ...] = ()
    """Web addresses where the encrypted package will be; `{cid}` in them becomes its cid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleChain:
    """Where the money of a sale goes: the seller's wallet, and the escrow of the joined chain."""

    wallet: str
    chain_id: int
    escrow: str


@dataclass(slots=True, kw_only=True)
class Stock:
    """Publishes packages and releases their keys."""

    catalogue: Catalogue
    blobs: BlobStore
    settings: Settings
    check: ModelCheck
    seed: bytes
    chain: SaleChain
    folder: Path
    workers: Workers
    access: BlobAccess
    _lock: trio.Lock = field(default_factory=trio.Lock)

    async def publish(self, draft: ListingDraft, progress: Progress) -> dict[str, Any]:
        """Check, seal, sign and announce a package; returns `{"cid", "key"}` of the listing.

        Raises:
            Refused: the package holds what may not be sold here, or the check found an error.
            SandboxError: there is no sandbox to check the model in.
        """
        files, model = package_files(draft.path)
        mirror_addresses(draft.mirrors, "")
        await self.examine(model, progress)
        async with self._lock:
            salt = secrets.token_hex(16)
            key = package_key(self.seed, salt)
            entries, blob = await self.seal(files, key, progress)
            await self.workers.store(
                lambda: self.settings.set(_PACKAGE + blob.cid, {"salt": salt, "name": model.name})
            )
            self.access.make_public(blob.cid)
            listing = Listing(
                title=draft.title.strip(),
                summary=draft.summary,
                licence=draft.licence,
                format=SUFFIXES[model.suffix],
                files=entries,
                blob=blob,
                key_sha256=hashlib.sha256(key).hexdigest(),
                card=draft.card,
                price_micro=draft.price_micro,
                wallet=self.chain.wallet,
                chain_id=self.chain.chain_id,
                escrow=self.chain.escrow,
                arbiter=draft.arbiter,
                deliver_s=draft.deliver_s,
                review_s=draft.review_s,
                mirrors=mirror_addresses(draft.mirrors, blob.cid),
                ipfs=await self.workers.work(self._ipfs_address, blob.cid),
            )
            progress("Announcing the listing")
            listing_key = entries[0].sha256[:16] + "-" + salt[:8]
            signed = await self.catalogue.publish(
                "listing", listing_key, body_as_dict(listing), life_s=LISTING_LIFE_S
            )
        return {"cid": signed.cid, "key": listing_key}

    def _ipfs_address(self, cid: str) -> str:
        with self.blobs.open(cid) as file:
            return unixfs.cid_of(file)

    async def examine(self, model: Path, progress: Progress) -> None:
        """Look into a model in the sandbox.

        Raises:
            Refused: the check found an error.
            SandboxError: there is no sandbox to check it in.
        """
        progress("Checking the model in the sandbox")
        report = await self.check.run(model, progress)
        if not report["ok"]:
            errors = [finding["words"] for finding in report["findings"] if finding["severity"] == "error"]
            raise Refused(
                "unsafe_model",
                f"{model.name} is refused: {'; '.join(errors)}",
                "Export it as plain ONNX or safetensors.",
            )

    async def withdraw(self, cid: str) -> None:
        """Take one's own listing off the market.

        Raises:
            NotFound: it is not a live listing of this node.
        """
        await self.catalogue.withdraw_cid(cid, "listing")

    def package_cids(self) -> list[str]:
        """The blobs of all packages that were ever listed here (blocks on the disk)."""
        return [name.removeprefix(_PACKAGE) for name in self.settings.names(_PACKAGE)]

    async def sealed_key(self, terms: SaleTerms) -> bytes:
        """The key of a sold package, for this buyer only.

        Raises:
            NotFound: this node does not hold the package's salt, so it cannot deliver.
        """
        kept = await self.workers.store(lambda: self.settings.get(_PACKAGE + terms.blob.cid))
        if kept is None:
            raise NotFound(
                "no_key",
                "This home does not hold the key of the sold package.",
                "Use “cancel” to refund the buyer.",
            )
        return seal_key(package_key(self.seed, kept["salt"]), terms.box_key)

    async def seal(
        self, files: list[Path], key: bytes, progress: Progress
    ) -> tuple[list[FileEntry], BlobRef]:
        """Encrypt a package into a blob of this node; its files, and where it is.

        Raises:
            StoreError: not enough room on the disk.
        """
        total = sum(path.stat().st_size for path in files)
        target = self.folder / f"{secrets.token_hex(8)}.sealing"
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < 2 * total + 16 * 1024 * 1024:
            raise StoreError(
                "disk_full",
                "There is not enough room on the disk to seal the package.",
                "Free some space and try again.",
            )
        try:
            progress("Encrypting the package")
            entries = [await self.workers.work(describe, path) for path in files]
            await self.workers.store(
                lambda: seal(
                    files,
                    target,
                    key,
                    on_progress=lambda done: progress.soon("Encrypting the package", done, total, "bytes"),
                )
            )
            progress("Cutting it into chunks")
            info = await self.blobs.add_file(target)
        finally:
            target.unlink(missing_ok=True)
        return entries, BlobRef(cid=info.cid, size=info.size, sha256=info.sha256)


def mirror_addresses(mirrors: Sequence[str], cid: str) -> list[str]:
    """The addresses as the listing names them.

    Raises:
        Refused: one is no plain HTTPS address.
    """
    found = [one.strip().replace("{cid}", cid) for one in mirrors]
    try:
        return list(dict.fromkeys(map(check_url, found)))
    except PeerError as error:
        raise Refused(error.code, error.message, "Write it like https://example.org/models/{cid}.") from error


def package_files(path: Path) -> tuple[list[Path], Path]:
    """The files of a package, model first, and the model; from one model file or a flat folder.

    Raises:
        NotFound: nothing is there.
        Refused: no model or several, sub-folders, links, or files of a kind that may not be sold.
    """
    if path.is_file() and not path.is_symlink():
        found = [path]
    elif path.is_dir():
        found = sorted(item for item in path.iterdir() if not item.name.startswith("."))
    else:
        raise NotFound(
            "no_such_file", f"There is no file or folder {path}.", "Choose an .onnx or .safetensors file."
        )
    strange = [item.name for item in found if item.is_symlink() or not item.is_file()]
    if strange:
        raise Refused(
            "strange_files",
            f"A package holds plain files only; found {', '.join(strange[:5])}.",
            "Remove links and folders.",
        )
    models = [item for item in found if item.suffix in SUFFIXES]
    others = [item for item in found if item.suffix not in SUFFIXES]
    unsafe = [item.name for item in others if item.suffix not in TEXT_ENDINGS]
    if unsafe:
        raise Refused(
            "unsafe_format",
            f"{', '.join(unsafe[:5])}: only ONNX and safetensors models, and texts, can be sold. "
            "Pickle, executables and archives can run code on the buyer's computer.",
            "Export the model as ONNX or safetensors.",
        )
    if len(models) != 1 or len(found) > MAX_FILES:
        raise Refused(
            "one_model",
            f"A package holds exactly one model; this one has {len(models)}.",
            "Sell each model by itself.",
        )
    return [*models, *others], models[0]
