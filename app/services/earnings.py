"""What this machine has earned after electricity, per device and day, as rows, CSV and PDF."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.text_pdf import text_pdf
from openstall.app.threads import Workers
from openstall.market.earnings import DayEarning, EnergyBy, JobEarning, by_day, cost_micro
from openstall.market.errors import Refused
from openstall.market.house import HouseRules
from openstall.market.money import format_amount
from openstall.store.orders import Orders

DEVICE = "processor"
"""What earnings go by, with or without a graphics card; a rig's goes by the name of the rig."""
MEASURED_PART = 0.8
"""A job whose power was known for less of its time counts as not measured."""
_BY = {
    "measured": "measured",
    "claimed": "the rig's word",
    "stated": "stated by you",
    "unknown": "not known",
}
_HEAD = ("day", "device", "jobs", "seconds", "earned", "energy_wh", "energy_is", "electricity", "net")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept with an order when its job has ended."""

    day: str
    device: str
    energy_j: int
    energy_by: EnergyBy
    cost_micro: int


@dataclass(slots=True, kw_only=True)
class Earnings:
    """The owner's books: they are made from the order book, so that nothing can be counted twice."""

    desk: OrderDesk
    orders: Orders
    channel: ChannelDesk
    rules: Callable[[], Awaitable[HouseRules]]
    rig: Callable[[str], tuple[str, int | None] | None]
    """Name and stated watts of another machine of the owner, by its key."""
    workers: Workers

    async def account(self, _order: OpenOrder, job: RunningJob) -> dict[str, Any]:
        """What a job that ends now has used, at today's tariff."""
        rules = await self.rules()
        worked_s = job.tick.seconds if job.tick else 0
        rig = self.rig(job.machine)
        device, of_it = (DEVICE, rules) if rig is None else (rig[0], HouseRules(stated_w=rig[1]))
        energy_j, by = _energy(job, worked_s, of_it, of_rig=rig is not None)
        return {
            "day": _day(self.desk.now()),
            "device": device,
            "energy_j": energy_j,
            "energy_by": by,
            "cost_micro": cost_micro(energy_j, rules.tariff_micro_per_kwh),
        }

    async def days(self) -> list[DayEarning]:
        """Per device and day, the newest first; what is promised by vouchers counts as earned."""
        ids = await self.workers.store(lambda: self.orders.list_ids(role="seller", kind="compute"))
        found = [await self._of(await self.desk.load(order_id)) for order_id in ids]
        return by_day(one for one in found if one is not None)

    async def as_dict(self) -> dict[str, Any]:
        """For the local API."""
        days = await self.days()
        return {"items": [asdict(day) for day in days], "total": len(days)}

    async def save(self, *, csv_path: Path | None, pdf_path: Path | None) -> list[str]:
        """Write the rows into files that do not exist yet; returns their paths.

        Raises:
            Refused: no file was named, one exists, or one cannot be written.
        """
        days = await self.days()
        files = [
            (path, make(days)) for path, make in ((csv_path, as_csv), (pdf_path, as_pdf)) if path is not None
        ]
        if not files:
            raise Refused("no_file", "No file was named.", "Name a CSV or a PDF file.")
        return [await self.workers.work(_write, path, content) for path, content in files]

    async def _of(self, order: OpenOrder) -> JobEarning | None:
        worked_s = int(order.data.get("seconds", 0))
        if not worked_s or not order.data.get("report"):
            return None  # nothing was worked, or it is not over yet
        earned = await self.channel.highest(order)
        kept = order.data.get("earning")
        use = msgspec.convert(kept, Kept) if kept else None
        return JobEarning(
            day=use.day if use else _day(order.entered_at),
            device=use.device if use else DEVICE,
            worked_s=worked_s,
            earned_micro=earned,
            energy_j=use.energy_j if use else 0,
            energy_by=use.energy_by if use else "unknown",
            cost_micro=use.cost_micro if use else 0,
        )


def as_csv(days: list[DayEarning]) -> bytes:
    """Comma-separated with a header; amounts in credits, energy in watt-hours."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(_HEAD)
    writer.writerows(_cells(day) for day in days)
    return sink.getvalue().encode()


def as_pdf(days: list[DayEarning]) -> bytes:
    """The same as a table on A4 pages, with the sum."""
    heads = ("Day", "Device", "Jobs", "Seconds", "Earned", "Energy, Wh", "Energy is", "Electricity", "Net")
    rows = [_cells(day) for day in days]
    known = [day.net_micro for day in days if day.net_micro is not None]
    total = (
        f"Earned {format_amount(sum(day.earned_micro for day in days))} credits; "
        f"net of electricity {format_amount(sum(known))} credits on the {len(known)} of {len(days)} lines "
        "whose energy is known."
    )
    return text_pdf("Openstall: earnings minus electricity", heads, rows, total)


def _cells(day: DayEarning) -> tuple[str, ...]:
    known = day.net_micro is not None
    return (
        day.day,
        day.device,
        str(day.jobs),
        str(day.worked_s),
        format_amount(day.earned_micro).replace(",", ""),
        f"{day.energy_j // 3600}.{day.energy_j % 3600 * 10 // 3600}" if known else "",
        _BY[day.energy_by],
        format_amount(day.cost_micro).replace(",", "") if known else "",
        format_amount(day.net_micro).replace(",", "") if day.net_micro is not None else "",
    )


def _energy(
    job: RunningJob, worked_s: int, rules: HouseRules, *, of_rig: bool = False
) -> tuple[int, EnergyBy]:
    """What a job drew, and who says so: a figure of a rig is its own word, measured or stated."""
    if worked_s and job.measured_ms >= MEASURED_PART * worked_s * 1000:
        return -(-job.energy_mj // 1000), "claimed" if of_rig else "measured"
    if rules.stated_w is not None:
        return rules.stated_w * worked_s, "claimed" if of_rig else "stated"
    return 0, "unknown"


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, tz=UTC).astimezone().date().isoformat()


def _write(path: Path, content: bytes) -> str:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise Refused("file_exists", f"{path} exists already.", "Choose another name.") from error
    except OSError as error:
        raise Refused(
            "cannot_write", f"{path} cannot be written: {error.strerror}.", "Choose another folder."
        ) from error
    return str(path)
