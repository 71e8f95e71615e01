"""`openstall compute machines` and `openstall compute rigs`: this machine and the owner's others, as one."""

from __future__ import annotations

import time
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import plain, table

_MIB = 2**20


@click.command()
@command
def machines(cli: Cli) -> None:
    """All your machines: state, jobs, how busy they are."""
    found = cli.api.get("/v1/compute/machines")
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@click.group()
def rigs() -> None:
    """Other machines of yours that work for this node."""


@rigs.command()
@command
def pair(cli: Cli) -> None:
    """Show a code that pairs one machine, once, within ten minutes."""
    done = cli.api.post("/v1/compute/rigs/pair")
    minutes = max(1, round((done["expires_at"] - time.time()) / 60))
    cli.output.document(
        done,
        f"{done['code']}\n\nOn the other machine run `openstall rig pair` and paste this, within "
        f"{minutes} minutes. It is as good as a key until then: show it to nobody else.",
    )


@rigs.command()
@click.argument("machine")
@command
def unpair(cli: Cli, machine: str) -> None:
    """Listen to a MACHINE (name or peer id) no more; its jobs are lost."""
    done = cli.api.post("/v1/compute/rigs/unpair", machine=machine)
    cli.output.document(done, f"{plain(done['name'])} works for this node no more.")


MACHINE_VERBS: tuple[click.Command, ...] = (machines, rigs)


def on_machines(cli: Cli, action: str, machine: str) -> None:
    """Pause or resume one machine or all, and print how they are."""
    found = cli.api.post(f"/v1/compute/machines/{action}", machine=machine)
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


def _page(found: dict[str, Any]) -> str:
    rows = [
        {
            **one,
            "state": one["state"] if one["connected"] else "not connected",
            "running": f"{len(one['jobs'])} of {one['places']}",
            "threads": one["threads"] or "",
            "memory": f"{one['memory_bytes'] // _MIB} MiB" if one["memory_bytes"] else "",
            "load": f"{one['load_percent']} %" if one["connected"] else "",
        }
        for one in found["items"]
    ]
    columns = [
        ("MACHINE", "name"),
        ("STATE", "state"),
        ("SANDBOX", "tier"),
        ("JOBS", "running"),
        ("THREADS", "threads"),
        ("MEMORY", "memory"),
        ("BUSY", "load"),
    ]
    lines = [table(rows, columns)]
    for one in found["items"]:
        lines += [
            f"{plain(one['name'])} ({one['key']}): {plain(one['words'])} {plain(one['next_words'])}".rstrip()
        ]
        lines += [f"  {plain(job['title'])}: {job['stage']} ({job['order_id']})" for job in one["jobs"]]
    lines += [f"{plain(trouble['machine'])}: {plain(trouble['message'])}" for trouble in found["troubles"]]
    return "\n".join(lines)
