"""`openstall compute`: rent this machine out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import IO, Any

import click

from openstall.app.cli.autoprice import autoprice
from openstall.app.cli.capacity import VERBS
from openstall.app.cli.context import Cli, command
from openstall.app.cli.demand_page import demand_page, replay_page
from openstall.app.cli.machines import MACHINE_VERBS, on_machines
from openstall.app.cli.output import fields, table
from openstall.app.cli.reliability import reliability
from openstall.app.cli.rule_changes import changed_rules
from openstall.market.errors import OpenstallError
from openstall.market.house import read_rules
from openstall.market.house_hours import format_hours
from openstall.market.job_kinds import KINDS, USUAL_KINDS
from openstall.market.money import format_amount, parse_amount

GIB = 2**30


@click.group()
def group() -> None:
    """This machine as a provider."""


@group.command()
@command
def show(cli: Cli) -> None:
    """What the machine has, whether it is safe, its offer and its jobs."""
    found = cli.api.get("/v1/compute")
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@group.command()
@click.option("--price", required=True, help="Credits per second, as 0.02.")
@click.option("--max-job-s", type=int, default=3600, show_default=True, help="Longest job in seconds.")
@click.option("--memory-gib", type=int, default=2, show_default=True)
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--jobs-at-once", type=int, default=1, show_default=True)
@click.option("--queue", type=int, default=3, show_default=True, help="Paid jobs that may wait for a place.")
@click.option(
    "--gpu", is_flag=True, help="Rent out the graphics cards too, except those switched off in the rules."
)
@click.option(
    "--gpu-memory-gib", type=int, default=0, help="Of each card; 0 is all of it.", show_default=True
)
@click.option(
    "--gpu-scripts", is_flag=True, help="Let programs of buyers use them: a larger door into the system."
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=USUAL_KINDS)
@click.option(
    "--ttl-s", type=int, default=6 * 3600, show_default=True, help="How long one announcement holds."
)
@command
def sell(
    cli: Cli,
    price: str,
    max_job_s: int,
    memory_gib: int,
    threads: int,
    jobs_at_once: int,
    queue: int,
    gpu: bool,
    gpu_memory_gib: int,
    gpu_scripts: bool,
    kinds: tuple[str, ...],
    ttl_s: int,
) -> None:
    """Put this machine on offer."""
    done = cli.api.post(
        "/v1/compute/sell",
        price_per_s_micro=parse_amount(price),
        max_job_s=max_job_s,
        memory_bytes=memory_gib * GIB,
        threads=threads,
        jobs_at_once=jobs_at_once,
        queue=queue,
        gpus=gpu,
        gpu_memory_bytes=gpu_memory_gib * GIB,
        gpu_scripts=gpu_scripts,
        kinds=list(kinds),
        ttl_s=ttl_s,
    )
    words = f"This machine is on offer ({done['cid']})."
    if done["below_cost"]:
        floor = format_amount(done["floor_price_micro"])
        words += f"\nYour price is below the electricity: {floor} credits per second would pay for it."
    cli.published(done, words)


@group.command()
@click.option("--now", is_flag=True, help="End running jobs at once.")
@command
def stop(cli: Cli, now: bool) -> None:
    """Take this machine off the market; running jobs may finish, unless --now is given."""
    done = cli.api.post("/v1/compute/stop", now=now)
    ended = f" {done['jobs_ended']} running jobs were ended." if now else ""
    cli.output.document(done, f"This machine is no longer on offer.{ended}")


@group.command()
@click.option("--machine", help="Another of your machines, by name or peer id; or `all`.")
@command
def pause(cli: Cli, machine: str | None) -> None:
    """Have the machine back now: running jobs stand still, and none starts."""
    if machine is not None:
        on_machines(cli, "pause", machine)
        return
    done = cli.api.post("/v1/compute/pause")
    cli.output.document(done, f"Paused after {done['returned_ms']} ms. {done['next_words']}".strip())


@group.command()
@click.option("--machine", help="Another of your machines, by name or peer id; or `all`.")
@command
def resume(cli: Cli, machine: str | None) -> None:
    """Take a pause back; the house rules hold as before."""
    if machine is not None:
        on_machines(cli, "resume", machine)
        return
    done = cli.api.post("/v1/compute/resume")
    cli.output.document(done, f"{done['words']} {done['next_words']}".strip())


@group.command()
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False), help="Write them into a new CSV file.")
@click.option("--pdf", "pdf_file", type=click.Path(dir_okay=False), help="Write them into a new PDF file.")
@command
def earnings(cli: Cli, csv_file: str | None, pdf_file: str | None) -> None:
    """What jobs earned minus electricity, per device and day."""
    if csv_file or pdf_file:
        paths = {"csv": csv_file, "pdf": pdf_file}
        whole = {name: str(Path(path).resolve()) for name, path in paths.items() if path}
        done = cli.api.post("/v1/compute/earnings/save", **whole)
        cli.output.document(done, "\n".join(done["items"]))
        return
    cli.output.rows(
        cli.api.get("/v1/compute/earnings"),
        [
            ("DAY", "day"),
            ("DEVICE", "device"),
            ("JOBS", "jobs"),
            ("WORKED S", "worked_s"),
            ("EARNED", "earned_micro"),
            ("ELECTRICITY", "cost_micro"),
            ("ENERGY IS", "energy_by"),
            ("NET", "net_micro"),
        ],
        empty="No job has run here yet.",
    )


@group.group()
def rules() -> None:
    """Your house rules: when, how hot and how loud this machine may work for others."""


@rules.command(name="show")
@command
def show_rules(cli: Cli) -> None:
    """The rules, what the sensors say, and what follows from both."""
    found = cli.api.get("/v1/compute/house")
    cli.output.document(found, _house_page(found) if not cli.output.as_json else None)


@rules.command(name="set")
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]…")
@click.option("--hours", help="As `mon-fri 18:00-08:00; sat,sun 00:00-24:00`, or `always`.")
@click.option("--file", type=click.File("rb"), help="All rules as a JSON object; `-` for standard input.")
@command
def set_rules(cli: Cli, changes: tuple[str, ...], hours: str | None, file: IO[bytes] | None) -> None:
    """Change rules; those that are not named stay.

    NAME is as `rules show --json` prints it, VALUE is JSON: idle_s=300 mains_only=true
    exclusive_apps='["steam"]' temperature_c_max=null (switches that rule off).
    """
    present = {} if file else cli.api.get("/v1/compute/house")["rules"]
    value = changed_rules(present, changes, hours, file)
    done = cli.api.post("/v1/compute/house", rules=value)
    cli.output.document(done, _house_page(done) if not cli.output.as_json else None)


@group.command()
@click.option("--replay", is_flag=True, help="Conclude again from what was kept.")
@command
def why(cli: Cli, replay: bool) -> None:
    """Why this price, and why no job: the group's prices, your place, and what went elsewhere."""
    if replay:
        again = cli.api.get("/v1/compute/demand/replay")
        cli.output.document(again, replay_page(again) if not cli.output.as_json else None)
        return
    found = cli.api.get("/v1/compute/demand")
    cli.output.document(found, demand_page(found) if not cli.output.as_json else None)


@group.command(name="install-runtime")
@click.option("--gpu", is_flag=True, help="With NVIDIA's libraries: 3 GB to download.")
@command
def install_runtime(cli: Cli, gpu: bool) -> None:
    """Download what jobs need: torch, onnxruntime and so on. Needs no running node."""
    cli.output.document(_installed(cli, gpu=gpu))


def _installed(cli: Cli, *, gpu: bool) -> dict[str, Any]:
    try:
        api = cli.api
    except OpenstallError as error:
        if error.code != "node_not_running":
            raise
    else:
        return api.operate("/v1/runtime/install", cli.output, gpu=gpu)
    import trio

    from openstall.app.services.compute import install_without_node

    def tell(stage: str, done: int = 0, total: int = 0, unit: str = "") -> None:  # noqa: ARG001 - the stage will do
        cli.output.progress(stage)

    try:
        return trio.run(partial(install_without_node, tell, gpu=gpu))
    finally:
        cli.output.end_progress()


def _house_page(found: dict[str, Any]) -> str:
    chosen = {name: value for name, value in found["rules"].items() if value not in (None, False, 0, [], "")}
    if "hours" in chosen:
        chosen["hours"] = format_hours(read_rules(found["rules"]).hours)
    parts = [f"{found['words']} {found['next_words']}".strip(), fields({"rules": chosen})]
    told = {name: value for name, value in found["sensors"].items() if value not in (None, "", [])}
    parts.append(fields({"sensors": told}))
    returned = found["returned"]
    if returned:
        parts.append(
            f"You had the machine back within {returned['last_ms']} ms the last time, within "
            f"{returned['worst_ms']} ms at worst (counted so far: {returned['count']})."
        )
    return "\n\n".join(parts)


for _verb in (*VERBS, *MACHINE_VERBS, reliability, autoprice):
    group.add_command(_verb)


def _page(found: dict[str, Any]) -> str:
    parts = [fields({"agent": found["agent"], "inventory": found["inventory"] or {}})]
    if found["doctor"]:
        parts.append(
            table(found["doctor"], [("CHECK", "name"), ("OK", "ok"), ("CAUSE", "cause"), ("FIX", "fix")])
        )
    parts.append("On offer: " + ("yes" if found["selling"] else "no"))
    if found["jobs"]:
        parts.append(table(found["jobs"], [("JOB", "title"), ("STATE", "state"), ("ORDER", "order_id")]))
    return "\n\n".join(parts)
