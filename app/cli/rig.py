"""`openstall rig`: this machine works for the node of its owner on another computer; no wallet, no market."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from openstall.app.cli.context import Cli, command, read_secret
from openstall.app.cli.output import fields, plain
from openstall.app.cli.rule_changes import changed_rules
from openstall.market.house import HouseRules
from openstall.market.house_hours import format_hours

if TYPE_CHECKING:
    from openstall.app.rig.book import RigBook

MAX_JOBS = 64


@click.group()
def group() -> None:
    """This machine as one of several that work for your node."""


@group.command()
@click.option("--name", help="What the node shows; the computer's own name if you give none.")
@click.option("--code-file", type=click.Path(allow_dash=True), help="File with the code (-: standard input).")
@command
def pair(cli: Cli, name: str | None, code_file: str | None) -> None:
    """Work for the node whose pairing code you paste."""
    from openstall.app.rig.process import pair_rig

    text = read_secret("Pairing code", code_file)
    owner = pair_rig(cli.home.rig, text, name)
    cli.output.document(
        {"node": owner.peer_id, "name": owner.name},
        f"Paired: this machine works for {plain(owner.name)}. Start it with `openstall rig run`.",
    )


@group.command()
@click.option("--node", default="", help="Another address of the node, as /ip4/192.0.2.7/tcp/4001.")
@click.option("--ray", default="", help="Address of a Ray cluster whose machines run the jobs, as host:6379.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info")
@command
def run(cli: Cli, node: str, ray: str, log_level: str) -> None:
    """Work in this terminal until Ctrl-C."""
    from openstall.app.rig.process import RigConfig, run_rig

    config = RigConfig(home=cli.home.rig, node=node, ray=ray, log_level=log_level)
    run_rig(config, lambda words: cli.output.line({"event": "rig", "words": words}, plain(words)))


@group.command()
@command
def show(cli: Cli) -> None:
    """Whom this machine works for, its rules, and how it was a moment ago."""
    with _book(cli) as (book, rules):
        found = _as_dict(book, rules)
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@group.command(name="set")
@click.option("--name", help="What the node shows from the next connection on.")
@click.option("--jobs-at-once", type=click.IntRange(1, MAX_JOBS), help="Jobs that may run side by side.")
@command
def set_limits(cli: Cli, name: str | None, jobs_at_once: int | None) -> None:
    """Change its name, or how many jobs run at once."""
    with _book(cli) as (book, rules):
        if name is not None:
            book.call_it(name)
        if jobs_at_once is not None:
            book.allow(jobs_at_once)
        found = _as_dict(book, rules)
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@group.command(name="rules")
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]…")
@click.option("--hours", help="As `mon-fri 18:00-08:00; sat,sun 00:00-24:00`, or `always`.")
@click.option("--file", type=click.File("rb"), help="All rules as a JSON object; `-` for standard input.")
@command
def change_rules(cli: Cli, changes: tuple[str, ...], hours: str | None, file: IO[bytes] | None) -> None:
    """Show this machine's own house rules, or change them, as `openstall compute rules set` does."""
    from openstall.app.rig.settings import set_rules

    with _book(cli) as (book, present):
        if changes or hours is not None or file is not None:
            set_rules(cli.home.rig, changed_rules(msgspec.to_builtins(present), changes, hours, file))
    with _book(cli) as (book, rules):
        found = _as_dict(book, rules)
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@group.command()
@command
def pause(cli: Cli) -> None:
    """Have this machine back: its jobs stand still, and none starts."""
    from openstall.app.rig.settings import pause_rig

    pause_rig(cli.home.rig)
    cli.output.document({"paused": True}, "Paused. `openstall rig resume` takes it back.")


@group.command()
@command
def resume(cli: Cli) -> None:
    """Take a pause back; the rules hold as before."""
    from openstall.app.rig.settings import resume_rig

    resume_rig(cli.home.rig)
    cli.output.document({"paused": False}, "Jobs may run again, as far as the rules let them.")


@group.command()
@command
def unpair(cli: Cli) -> None:
    """Work for that node no more."""
    from openstall.app.rig.process import unpair_rig

    owner, heard = unpair_rig(cli.home.rig)
    words = f"This machine works for {plain(owner.name)} no more."
    if not heard:
        words += " The node could not be told: unpair it there too, with `openstall compute rigs unpair`."
    cli.output.document({"node": owner.peer_id, "node_told": heard}, words)


@contextmanager
def _book(cli: Cli) -> Iterator[tuple[RigBook, HouseRules]]:
    from openstall.app.rig.settings import open_book

    with open_book(cli.home.rig) as opened:
        yield opened


def _as_dict(book: RigBook, rules: HouseRules) -> dict[str, Any]:
    owner = book.owner
    return {
        "name": book.name,
        "node": {"peer_id": owner.peer_id, "name": owner.name} if owner is not None else None,
        "jobs_at_once": book.jobs_at_once,
        "rules": msgspec.to_builtins(rules),
        "state": book.state or None,
    }


def _page(found: dict[str, Any]) -> str:
    chosen = {name: value for name, value in found["rules"].items() if value}
    if "hours" in chosen:
        chosen["hours"] = format_hours(msgspec.convert(found["rules"], HouseRules).hours)
    node = found["node"]
    parts = [
        f"{plain(found['name'])} works for {plain(node['name'])} ({node['peer_id']})."
        if node
        else f"{plain(found['name'])} works for no node. `openstall rig pair` takes a pairing code.",
        f"Jobs at once: {found['jobs_at_once']}",
        fields({"rules": chosen}),
    ]
    state = found["state"]
    if state is None:
        parts.append("It does not run. `openstall rig run` starts it.")
    else:
        ago = max(0, round(time.time() - state["at"]))
        line = "connected to the node" if state["connected"] else "not connected to the node"
        parts.append(
            f"Runs, {line}; jobs: {state['jobs_running']} running, {state['jobs_waiting']} waiting. "
            f"{plain(state['words'])} {plain(state['next_words'])}".rstrip()
            + f" (changed {ago} s ago)"
        )
    return "\n\n".join(parts)
