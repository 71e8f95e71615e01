"""`openstall node`: run it here, start it in the background, stop it, see how it is."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click

from openstall.app.cli.context import Cli, command
from openstall.app.lock import holder_of
from openstall.market.errors import OpenstallError

START_S = 60.0
STOP_S = 30.0
NETWORK_S = 10.0
POLL_S = 0.05


@click.group()
def group() -> None:
    """The node: the process that holds keys, store and connections of one home folder."""


def _node_options(fn: click.decorators.FC) -> click.decorators.FC:
    options = (
        click.option("--listen", multiple=True, help="Multiaddress to listen on, as /ip4/0.0.0.0/tcp/4001."),
        click.option("--bootstrap", multiple=True, help="Address of a peer to connect to, with /p2p/<id>."),
        click.option("--no-mdns", is_flag=True, help="Do not look for peers on the local network."),
        click.option("--no-agent", is_flag=True, help="Do not start the compute agent."),
        click.option(
            "--passphrase-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="File with the wallet's passphrase, to open it at the start.",
        ),
        click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info"),
    )
    for option in reversed(options):
        fn = option(fn)
    return fn


@group.command()
@_node_options
@command
def run(
    cli: Cli,
    listen: tuple[str, ...],
    bootstrap: tuple[str, ...],
    no_mdns: bool,
    no_agent: bool,
    passphrase_file: Path | None,
    log_level: str,
) -> None:
    """Run the node in this terminal until Ctrl-C."""
    gc.disable()  # all that is imported stays: searching it for garbage takes a sixth of the start
    from openstall.app.config import DEFAULT_LISTEN, NodeConfig
    from openstall.app.process import run_node

    gc.freeze()
    gc.enable()
    run_node(
        NodeConfig(
            home=cli.home,
            listen=listen or DEFAULT_LISTEN,
            bootstrap=bootstrap,
            mdns=not no_mdns,
            agent=not no_agent,
            passphrase_file=passphrase_file,
            log_level=log_level,
        )
    )


@group.command()
@_node_options
@command
def start(cli: Cli, /, **options: object) -> None:
    """Start the node in the background and wait until it answers."""
    del options  # the child parses the same words again
    if _answers(cli):
        holder = holder_of(cli.home.lock)
        cli.output.document({"running": True, "pid": holder}, f"The node runs already (process {holder}).")
        return
    words = sys.argv[1:]
    at = len(words) - 1 - words[::-1].index("start")
    command_line = [
        sys.executable,
        "-P",
        "-m",
        "openstall.app.cli.main",
        *words[:at],
        "run",
        *words[at + 1 :],
    ]
    cli.home.create()
    with (cli.home.log.parent / "start.log").open("wb") as log:
        child = subprocess.Popen(
            command_line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if child.poll() is not None:
            said = (cli.home.log.parent / "start.log").read_text(errors="replace").strip()
            raise OpenstallError("node_ended", f"The node ended at its start: {said[-1000:]}")
        if _answers(cli):
            warnings = _first_warnings(cli)
            lines = [f"The node runs (process {child.pid})."]
            lines += [
                f"Warning: {warning['message']} {warning['what_next']}".rstrip() for warning in warnings
            ]
            document = {"running": True, "pid": child.pid, "warnings": warnings}
            cli.output.document(document, "\n".join(lines))
            return
        time.sleep(POLL_S)
    raise OpenstallError("node_silent", "The node started but does not answer.", "Look at its log.")


@group.command()
@command
def stop(cli: Cli) -> None:
    """Stop the node and wait until it has ended."""
    pid = holder_of(cli.home.lock)
    cli.api.post("/v1/node/stop")
    end = time.monotonic() + STOP_S
    while pid is not None and holder_of(cli.home.lock) == pid and _alive(pid):
        if time.monotonic() > end:
            raise OpenstallError("still_running", "The node has not ended yet.", "Wait, or look at its log.")
        time.sleep(POLL_S)
    cli.output.document({"running": False}, "The node has stopped.")


@group.command()
@command
def status(cli: Cli) -> None:
    """Identity, group, network, agent and warnings."""
    cli.output.document(cli.api.get("/v1/status"))


@group.command()
@command
def events(cli: Cli) -> None:
    """Print what happens, one event a line, until Ctrl-C."""
    with cli.api.events() as stream:
        for event in stream:
            data = json.loads(event.data)
            cli.output.line({"event": event.event, "data": data}, f"{event.event}  {event.data}")


@group.command()
@command
def operations(cli: Cli) -> None:
    """Long actions, newest first."""
    cli.output.rows(
        cli.api.get("/v1/operations"),
        [("ID", "id"), ("WHAT", "title"), ("STATE", "state"), ("STAGE", "stage"), ("STARTED", "started_at")],
        empty="Nothing has been started.",
    )


@group.command()
@click.argument("mode", type=click.Choice(["auto", "on", "off"]))
@command
def relay(cli: Cli, mode: str) -> None:
    """Relay for members that nobody can reach; auto: when this node itself is reached directly."""
    found = cli.api.post("/v1/peers/relay", mode=mode)
    now = "does" if found["relay"] and found["relay"]["serving"] else "does not"
    cli.output.document(
        {"relay": mode, "serving": now == "does"}, f"Set to {mode}. This node {now} relay at present."
    )


@group.command()
@click.argument("choice", type=click.Choice(["on", "off"]))
@command
def upnp(cli: Cli, choice: str) -> None:
    """Allow or forbid the node to ask your router (UPnP) for a port when nobody can reach it."""
    cli.api.post("/v1/peers/upnp", on=choice == "on")
    words = "may ask" if choice == "on" else "no longer asks"
    cli.output.document({"upnp": choice == "on"}, f"This node {words} the router for a port.")


def _answers(cli: Cli) -> bool:
    from openstall.app.cli.client import ApiClient

    try:
        client = ApiClient(cli.home)
    except OpenstallError:
        return False
    try:
        client.get("/v1/status")
    except OpenstallError:
        return False
    finally:
        client.close()
    return True


def _first_warnings(cli: Cli) -> list[dict[str, str]]:
    """What the node warns of once its network part has come up or failed: a port in use shows only then."""
    end = time.monotonic() + NETWORK_S
    while True:
        status = cli.api.get("/v1/status")
        if status["parts"]["network"] in ("ready", "failed") or time.monotonic() > end:
            warnings: list[dict[str, str]] = status["warnings"]
            return warnings
        time.sleep(POLL_S)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
