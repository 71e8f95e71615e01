"""What a job made, on the buyer's side: fetched, compared with the signed report, kept in one folder."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass
from pathlib import Path

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_files import JobFiles
from openstall.market.errors import InvalidOrder, StoreError
from openstall.market.orders.results import JobReport, read_report
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

GIVE_UP_AFTER_S = 7 * 86_400
"""So long after the last deadline nobody asks a provider for results any more."""


@dataclass(slots=True, kw_only=True)
class JobResults:
    """Brings the artefacts of ended jobs."""

    desk: OrderDesk
    blobs: BlobStore
    transfer: BlobTransfer
    folder: Path

    async def bring(self, order: OpenOrder) -> None:
        """Fetch, check and keep what the report names; what cannot be right is given up, with the fault.

        Raises:
            PeerError: the provider cannot be reached now, or wants its voucher first; tried again later.
            InvalidOrder: the files are not what was signed for.
            StoreError: no room on the disk.
        """
        report = read_report(base64.b64decode(order.data["report"]), order.contract).report
        target = self.folder / order.order_id[:24]
        try:
            self._check_size(order, report)
            target.mkdir(parents=True, exist_ok=True)
            files = JobFiles(desk=self.desk, blobs=self.blobs, transfer=self.transfer)
            for item in report.outputs:
                await files.bring(order, item, target, "Fetching the results")
        except InvalidOrder as error:
            await self.desk.patch(order.order_id, fetched="", fault=error.as_dict())
            raise
        await self.desk.patch(order.order_id, fetched=str(target))

    async def give_up_if_hopeless(self, order: OpenOrder) -> bool:
        """Whether the results are not waited for any longer."""
        hopeless = self.desk.now() > order.contract.compute.settle_by + GIVE_UP_AFTER_S
        if hopeless:
            await self.desk.patch(order.order_id, fetched="")
        return hopeless

    def _check_size(self, order: OpenOrder, report: JobReport) -> None:
        total = sum(item.blob.size for item in report.outputs)
        if total > order.contract.compute.limits.disk_bytes:
            raise InvalidOrder("too_large", "The provider reports artefacts larger than the order allows.")
        if shutil.disk_usage(self.folder.parent).free < 2 * total:
            raise StoreError(
                "disk_full",
                f"The results need {2 * total // 2**20 + 1} MiB of free disk.",
                "Free some space; they are fetched by themselves.",
            )
