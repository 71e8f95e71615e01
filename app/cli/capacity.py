"""Verbs of `openstall compute` about what a machine can do: measured, claimed, challenged, bonded."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, fields, table
from openstall.app.cli.promise import promise
from openstall.market.money import parse_amount

_OUTCOMES = {
    "passed": "It passed",
    "wrong": "Its answer was wrong",
    "too_slow": "It was too slow for what it claims",
    "refused": "It refused",
    "silent": "It could not be reached",
}


@click.command()
@click.option("--device", "devices", multiple=True, default=("cpu",), help="cpu, or cuda:0 and so on.")
@click.option("--seconds", type=int, default=10, show_default=True, help="How long the work of each takes.")
@command
def benchmark(cli: Cli, devices: tuple[str, ...], seconds: int) -> None:
    """Measure this machine, and publish what it claims to be able to."""
    done = cli.api.operate("/v1/capacity/benchmark", cli.output, devices=list(devices), seconds=seconds)
    cli.output.document(done, None if cli.output.as_json else _claim(done["claim"]))


@click.command()
@click.argument("offer")
@click.option("--look", is_flag=True, help="Only show the claim; compute nothing.")
@command
def verify(cli: Cli, offer: str, look: bool) -> None:
    """What the provider of an OFFER claims, and its proof computed again on this node."""
    peer_id = provider_of(cli, offer)
    shown = cli.api.get(f"/v1/capacity/{peer_id}")
    if look or shown["claim"] is None:
        cli.output.document(shown, _shown(shown))
        return
    checked = cli.api.operate("/v1/capacity/verify", cli.output, peer_id=peer_id)
    words = "The proof is right." if checked["right"] else f"The proof is wrong: {checked['wrong']}"
    cli.output.document({**shown, "proof": checked}, f"{_shown(shown)}\n\n{words}")


@click.command()
@click.argument("target")
@command
def challenge(cli: Cli, target: str) -> None:
    """Challenge the provider of a running job (its ORDER), or as an oracle that of an OFFER."""
    if len(target) == 64:
        found = cli.api.operate("/v1/capacity/challenge/order", cli.output, order_id=target)
    else:
        peer_id = provider_of(cli, target)
        found = cli.api.operate("/v1/capacity/challenge/peer", cli.output, peer_id=peer_id)
    words = f"{_OUTCOMES[found['outcome']]} ({found['elapsed_ms']} of {found['allowed_ms']} ms)."
    if found["case"]:
        words += f"\nThe oracles of its bond are asked: case {found['case']}."
    cli.output.document(found, words)


@click.command()
@command
def cases(cli: Cli) -> None:
    """Complaints about providers: yours, and those that you judge as an oracle."""
    cli.output.rows(
        cli.api.get("/v1/capacity/cases"),
        [
            ("ROLE", "role"),
            ("STATE", "state"),
            ("OUTCOME", "outcome"),
            ("AMOUNT", "amount_micro"),
            ("PROVIDER", "provider"),
            ("CASE", "case"),
        ],
        empty="No cases.",
    )


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@command
def rounds(cli: Cli, switch: str) -> None:
    """As an oracle: challenge now and then, unasked, a provider whose bond names your wallet."""
    done = cli.api.post("/v1/capacity/rounds", on=switch == "on")
    words = f"The next round is at {cell(done, 'next_at')}." if done["rounds"] else "No rounds any more."
    cli.output.document(done, words)


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@command
def oracle(cli: Cli, switch: str) -> None:
    """Agree to be an oracle where a bond names your wallet; off until you do."""
    done = cli.api.post("/v1/capacity/oracle", on=switch == "on")
    words = "Your node takes on nothing new as an oracle."
    if done["oracle"]:
        words = "Your node watches and judges where a bond names your wallet."
    cli.output.document(done, words)


@click.group()
def bond() -> None:
    """Money behind what this machine claims; oracles can make it pay when the claim is false."""


@bond.command(name="show")
@command
def show_bond(cli: Cli) -> None:
    """This node's bond."""
    _say_bond(cli, cli.api.get("/v1/capacity/bond")["bond"])


@bond.command(name="post")
@click.option("--amount", required=True, help="Credits, as 100.")
@click.option("--oracle", "oracles", multiple=True, required=True, help="Wallet of an oracle; repeat it.")
@click.option("--quorum", type=int, required=True, help="How many oracles must agree: more than half.")
@click.option("--unlock-delay-s", type=int, default=7 * 86_400, show_default=True)
@command
def post_bond(cli: Cli, amount: str, oracles: tuple[str, ...], quorum: int, unlock_delay_s: int) -> None:
    """Post a bond; its terms cannot be changed later."""
    done = cli.api.post(
        "/v1/capacity/bond",
        amount_micro=parse_amount(amount),
        oracles=list(oracles),
        quorum=quorum,
        unlock_delay_s=unlock_delay_s,
    )
    _say_bond(cli, done)


@bond.command(name="announce")
@command
def announce(cli: Cli) -> None:
    """Announce that the bond is taken back; it can be made to pay until the delay is over."""
    _say_bond(cli, cli.api.post("/v1/capacity/bond/announce"))


@bond.command(name="withdraw")
@command
def withdraw(cli: Cli) -> None:
    """Take what is left of the bond, after the announced date."""
    _say_bond(cli, cli.api.post("/v1/capacity/bond/withdraw"))


VERBS = (benchmark, verify, challenge, cases, rounds, oracle, bond, promise)


def provider_of(cli: Cli, offer: str) -> str:
    """The peer behind an offer; a peer id stands for itself."""
    if offer.startswith("12D3"):
        return offer
    author: str = cli.api.get(f"/v1/catalogue/{offer}")["author"]
    return author


def _say_bond(cli: Cli, found: dict[str, Any] | None) -> None:
    cli.output.document({"bond": found}, fields(found) if found else "This machine has no bond.")


def _claim(claim: dict[str, Any]) -> str:
    works = table(
        claim["works"],
        [
            ("DEVICE", "device"),
            ("THREADS", "threads"),
            ("TIME MS", "ms"),
            ("MILLION OPERATIONS/S", "million_operations_per_s"),
        ],
    )
    figures = table(
        claim["figures"], [("FIGURE", "name"), ("DEVICE", "device"), ("VALUE", "value"), ("UNIT", "unit")]
    )
    return f"Measured {cell(claim, 'measured_at')} with {cell(claim, 'runtime')}\n\n{works}\n\n{figures}"


def _shown(shown: dict[str, Any]) -> str:
    if shown["claim"] is None:
        return "This provider claims nothing about its machine."
    bonded = "No bond stands behind it."
    if shown["bond"]:
        bonded = f"Bonded on the chain: {cell(shown['bond'], 'left_micro')} ({cell(shown['bond'], 'state')})."
    tested = "Your node has not challenged it."
    if shown["verdicts"]:
        tested = f"Your node's last challenge: {_OUTCOMES[shown['verdicts'][0]['outcome']].lower()}."
    return f"{_claim(shown['claim'])}\n\n{bonded}\n{tested}"
