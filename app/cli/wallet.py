"""`openstall wallet`: the identity behind the 24 words, balance, history, sending."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command, read_secret
from openstall.app.cli.output import cell
from openstall.market.errors import OpenstallError
from openstall.market.money import format_amount, parse_amount

_PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    type=click.Path(allow_dash=True),
    help="File with the passphrase (-: standard input).",
)
_KEYCHAIN = click.option("--keychain", is_flag=True, help="Let the computer's keychain guard it instead.")


@click.group()
def group() -> None:
    """Your identity and your credits."""


@group.command()
@click.option("--name", required=True, help="How other peers see you.")
@_PASSPHRASE_FILE
@_KEYCHAIN
@command
def create(cli: Cli, name: str, passphrase_file: str | None, keychain: bool) -> None:
    """Make a new wallet and show its 24 words, once."""
    passphrase = None if keychain else read_secret("New passphrase", passphrase_file, confirm=True)
    made = cli.api.post("/v1/identity/create", name=name, passphrase=passphrase)
    numbered = "\n".join(f"{at:3}. {word}" for at, word in enumerate(made["words"], start=1))
    cli.output.document(
        made,
        f"Your wallet: {made['wallet']}\nYour peer:   {made['peer_id']}\n\n"
        f"Write these words down, on paper, in this order. Whoever has them has your money.\n\n{numbered}\n\n"
        "Then test what you wrote: openstall wallet backup",
    )


@group.command()
@click.option("--name", required=True, help="How other peers see you.")
@click.option(
    "--words-file", type=click.Path(allow_dash=True), help="File with the 24 words (-: standard input)."
)
@_PASSPHRASE_FILE
@_KEYCHAIN
@command
def restore(cli: Cli, name: str, words_file: str | None, passphrase_file: str | None, keychain: bool) -> None:
    """Make the wallet of 24 words that were written down."""
    words = read_secret("Your 24 words", words_file).split()
    passphrase = None if keychain else read_secret("New passphrase", passphrase_file, confirm=True)
    made = cli.api.post("/v1/identity/restore", words=words, name=name, passphrase=passphrase)
    cli.output.document(made, f"Your wallet: {made['wallet']}\nYour peer:   {made['peer_id']}")


@group.command()
@_PASSPHRASE_FILE
@_KEYCHAIN
@command
def unlock(cli: Cli, passphrase_file: str | None, keychain: bool) -> None:
    """Open the wallet of a running node."""
    passphrase = None if keychain else read_secret("Passphrase", passphrase_file)
    cli.output.document(cli.api.post("/v1/identity/unlock", passphrase=passphrase), "Your wallet is open.")


@group.command()
@click.option(
    "--answers-file", type=click.Path(allow_dash=True), help="One asked word a line (-: standard input)."
)
@command
def backup(cli: Cli, answers_file: str | None) -> None:
    """Test the written words: re-enter those that are asked for."""
    positions = cli.api.get("/v1/identity/backup")["positions"]
    if not positions:
        cli.output.document({"tested": True}, "Your back-up was tested.")
        return
    if answers_file is None:
        entered = [read_secret(f"Word {at}", None) for at in positions]
    else:
        entered = read_secret("", answers_file).split()
    if len(entered) != len(positions):
        asked = ", ".join(str(at) for at in positions)
        raise OpenstallError("wrong_words", f"These words were asked for: {asked}.", "Give one a line.")
    words = {str(at): word for at, word in zip(positions, entered, strict=True)}
    cli.output.document(cli.api.post("/v1/identity/backup", words=words), "Your back-up is right.")


@group.command()
@command
def positions(cli: Cli) -> None:
    """Which words `backup` asks for now."""
    cli.output.document(cli.api.get("/v1/identity/backup"))


@group.command()
@command
def identity(cli: Cli) -> None:
    """Peer, wallet, name."""
    cli.output.document(cli.api.get("/v1/identity"))


@group.command()
@command
def show(cli: Cli) -> None:
    """Address, balance, and what is held in escrow."""
    found = cli.api.get("/v1/wallet")
    cli.output.document(
        found,
        f"Address  {found['address']}\n"
        f"Balance  {format_amount(found['balance_micro'])} {found['symbol']}\n"
        f"Held     {format_amount(found['held_micro'])} {found['symbol']} in escrow and jobs"
        + (f"\nAs of    {cell(found, 'as_of')}: the chain cannot be reached now" if found["as_of"] else ""),
    )


@group.command()
@command
def history(cli: Cli) -> None:
    """Every movement of your credits, newest first."""
    items = cli.api.get("/v1/wallet")["history"]
    cli.output.rows(
        {"items": items, "total": len(items)},
        [
            ("WHEN", "at"),
            ("WHAT", "words"),
            ("AMOUNT", "amount_micro"),
            ("WITH", "other"),
            ("TRANSACTION", "tx"),
        ],
        empty="No credits have moved yet.",
    )


@group.command()
@command
def faucet(cli: Cli) -> None:
    """Take the group's first credits (play money), once."""
    done = cli.api.operate("/v1/wallet/faucet", cli.output)
    cli.output.document(done, f"You have {format_amount(done['balance_micro'])} credits.")


@group.command()
@click.argument("to")
@click.argument("amount")
@command
def send(cli: Cli, to: str, amount: str) -> None:
    """Send AMOUNT credits (as 12.50) to the wallet address TO."""
    amount_micro = parse_amount(amount)
    done = cli.api.operate("/v1/wallet/send", cli.output, to=to, amount_micro=amount_micro)
    cli.output.document(done, f"Sent {format_amount(amount_micro)} credits to {to} ({done['tx']}).")
