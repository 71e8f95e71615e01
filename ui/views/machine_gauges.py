"""The figures of this machine as gauges, each with the owner's limit drawn in where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openstall.market.house import HouseRules
from openstall.ui import words
from openstall.ui.house import Sensors
from openstall.ui.trade import Inventory
from openstall.ui.widgets.gauge import Limit

HOTTEST_C = 110
"""The end of the scale of degrees; the rules allow no limit beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One gauge: its name, how full (0 to 100), the figures, and the limit."""

    name: str
    percent: int
    text: str
    limit: Limit | None = None


def readings(
    inventory: Inventory, rules: HouseRules, sensors: Sensors, network_today_bytes: int
) -> list[Reading]:
    """All that can be shown: processor and memory always, the rest where it is read or limited."""
    return [
        *_processor(inventory, rules, sensors),
        _memory(inventory, rules),
        *_disk(inventory, rules),
        *_heat(rules, sensors),
        *_fans(rules, sensors),
        *_power(rules, sensors),
        *_network(rules, network_today_bytes),
    ]


def unread(rules: HouseRules, sensors: Sensors) -> list[str]:
    """Limits that the owner has set and this machine cannot watch: jobs wait because of them."""
    asked = {
        "temperature": (rules.temperature_c_max, sensors.temperature_c),
        "fan speed": (rules.fan_rpm_max, sensors.fan_rpm),
        "fan noise": (rules.noise_percent_max, sensors.fan_percent),
        "power": (rules.power_w_max, sensors.power_mw),
        "load of other programs": (rules.others_percent_max, sensors.others_percent),
    }
    return [name for name, (limit, reading) in asked.items() if limit is not None and reading is None]


def _processor(inventory: Inventory, rules: HouseRules, sensors: Sensors) -> Iterator[Reading]:
    threads, cap, others = max(1, inventory.cores_logical), rules.threads_cap, sensors.others_percent
    load = inventory.load_percent
    yield Reading(name="Processor", percent=load, text=f"{load} % of {words.plural(threads, 'thread')} busy")
    if cap is not None and others is not None:
        jobs = max(0, load - others)
        # A job may use all that it was given: at the limit nothing is wrong.
        at = words.percent(cap, threads)
        limit = Limit(percent=at, words=f"your limit: {words.plural(cap, 'thread')}", holds=False)
        yield Reading(name="Processor for jobs", percent=jobs, text=f"{jobs} %", limit=limit)
    if rules.others_percent_max is not None and others is not None:
        most = rules.others_percent_max
        yield Reading(
            name="Other programs",
            percent=others,
            text=f"{others} % of the processor",
            limit=Limit(percent=most, words=f"your limit: {most} %"),
        )


def _memory(inventory: Inventory, rules: HouseRules) -> Reading:
    total, used = inventory.memory_bytes, max(0, inventory.memory_bytes - inventory.memory_free_bytes)
    limit = None
    if rules.memory_free_bytes_min:
        limit = Limit(
            percent=words.percent(total - rules.memory_free_bytes_min, total),
            words=f"your limit: {words.memory(rules.memory_free_bytes_min)} stay free",
        )
    elif rules.memory_bytes_cap:
        limit = Limit(
            percent=words.percent(rules.memory_bytes_cap, total),
            words=f"your limit: {words.memory(rules.memory_bytes_cap)} for jobs",
            holds=False,
        )
    text = f"{words.memory(used)} of {words.memory(total)} used"
    return Reading(name="Memory", percent=words.percent(used, total), text=text, limit=limit)


def _disk(inventory: Inventory, rules: HouseRules) -> Iterator[Reading]:
    total, free = inventory.disk_bytes, inventory.disk_free_bytes
    if not total:
        return
    limit = None
    if rules.disk_free_bytes_min:
        limit = Limit(
            percent=words.percent(total - rules.disk_free_bytes_min, total),
            words=f"your limit: {words.memory(rules.disk_free_bytes_min)} stay free",
        )
    elif rules.disk_bytes_cap:
        limit = Limit(
            percent=words.percent(rules.disk_bytes_cap, total),
            words=f"your limit: {words.memory(rules.disk_bytes_cap)} for jobs",
            holds=False,
        )
    yield Reading(
        name="Disk",
        percent=words.percent(total - free, total),
        text=f"{words.memory(free)} of {words.memory(total)} free",
        limit=limit,
    )


def _heat(rules: HouseRules, sensors: Sensors) -> Iterator[Reading]:
    most = rules.temperature_c_max
    limit = None
    if most is not None:
        limit = Limit(percent=words.percent(most, HOTTEST_C), words=f"your limit: {most} °C")
    found = [("Temperature", sensors.temperature_c)]
    found += [
        (f"{words.one_line(device.name, 40)}, temperature", device.temperature_c)
        for device in sensors.devices
    ]
    for name, degrees in found:
        if degrees is not None:
            percent = words.percent(degrees, HOTTEST_C)
            yield Reading(name=name, percent=percent, text=f"{degrees} °C", limit=limit)


def _fans(rules: HouseRules, sensors: Sensors) -> Iterator[Reading]:
    if rules.fan_rpm_max is not None and sensors.fan_rpm is not None:
        yield _up_to("Fan", sensors.fan_rpm, rules.fan_rpm_max, "rpm")
    if rules.noise_percent_max is not None and sensors.fan_percent is not None:
        most, now = rules.noise_percent_max, sensors.fan_percent
        yield Reading(
            name="Fan noise",
            percent=now,
            text=f"{now} % of full speed",
            limit=Limit(percent=most, words=f"your limit: {most} %"),
        )


def _power(rules: HouseRules, sensors: Sensors) -> Iterator[Reading]:
    if rules.power_w_max is not None and sensors.power_mw is not None:
        yield _up_to("Power drawn", sensors.power_mw // 1000, rules.power_w_max, "W")


def _network(rules: HouseRules, today_bytes: int) -> Iterator[Reading]:
    cap = rules.network_bytes_day_cap
    if cap:
        yield Reading(
            name="Network today",
            percent=words.percent(today_bytes * 4, cap * 5),
            text=f"{words.size(today_bytes)} for jobs",
            limit=Limit(percent=80, words=f"your limit: {words.memory(cap)} a day"),
        )


def _up_to(name: str, now: int, most: int, unit: str) -> Reading:
    """A figure without an end of its own: the limit stands at four fifths of the scale."""
    return Reading(
        name=name,
        percent=words.percent(now * 4, most * 5),
        text=f"{now:,} {unit}",
        limit=Limit(percent=80, words=f"your limit: {most:,} {unit}"),
    )
