"""Two homes in two terminals, by the command line alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import PASSPHRASE, NodeProcess, until

MakeNode = Callable[..., NodeProcess]


def run(node: NodeProcess, *words: str, said: str = "", status: int = 0) -> Any:
    """The JSON document of a command; on failure the one on standard error."""
    command = [sys.executable, "-m", "openstall.app.cli.main", "--home", str(node.home), "--json", *words]
    ended = subprocess.run(command, input=said, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == status, ended.stderr
    if status:
        assert ended.stdout == ""
        return json.loads(ended.stderr)["error"]
    return json.loads(ended.stdout)


def test_wallet_group_payment_and_search(make_node: MakeNode, tmp_path: Path) -> None:
    ann, bob = make_node("ann"), make_node("bob")
    made = run(ann, "wallet", "create", "--name", "Ann", "--passphrase-file", "-", said=PASSPHRASE)
    words_file = tmp_path / "words.txt"
    words_file.write_text(" ".join(made["words"]))
    secret = tmp_path / "passphrase.txt"
    secret.write_text(PASSPHRASE)
    asked = run(ann, "wallet", "positions")["positions"]
    answers = "\n".join(made["words"][at - 1] for at in asked)
    assert run(ann, "wallet", "backup", "--answers-file", "-", said=answers) == {"tested": True}
    run(bob, "wallet", "create", "--name", "Bob", "--passphrase-file", str(secret))
    again = run(bob, "wallet", "create", "--name", "B", "--passphrase-file", str(secret), status=1)
    assert again["code"] == "wallet_exists"

    invitation = run(ann, "chain", "create", "By hand")["invitation"]
    assert run(ann, "chain", "invite") == {"invitation": invitation}
    assert run(bob, "chain", "join", "--file", "-", said=invitation)["name"] == "By hand"
    assert run(bob, "chain", "join", "openstall:group:x", status=1)["code"] == "bad_invitation"
    run(ann, "wallet", "faucet")
    run(bob, "wallet", "faucet")
    sent = run(bob, "wallet", "send", made["wallet"], "12.5")
    assert sent["amount_micro"] == 12_500_000
    assert run(bob, "wallet", "send", made["wallet"], "1e9", status=1)["code"] == "bad_amount"
    assert run(ann, "wallet", "show")["balance_micro"] == 1_012_500_000
    assert run(ann, "wallet", "history")["items"][0]["kind"] == "received"
    found = until(lambda: run(ann, "catalogue", "search", "bob", "--type", "peer")["items"], "Bob's record")
    assert run(ann, "catalogue", "show", found[0]["cid"])["author_name"] == "Bob"
    assert run(ann, "peers", "list")["items"][0]["name"] == "Bob"
    reach = run(ann, "peers", "reach")
    assert (reach["state"], reach["relay"]["serving"]) == ("local", False)
    assert [(one["name"], one["path"]) for one in reach["peers"]] == [("Bob", "direct")]
    assert reach["peers"][0]["received"] > 1000
    assert run(ann, "node", "relay", "on") == {"relay": "on", "serving": True}
    assert run(ann, "node", "upnp", "off") == {"upnp": False}
    reach = run(ann, "peers", "reach")
    assert reach["settings"] == {"relay": "on", "upnp": False}
    assert reach["relay"]["serving"]
    assert run(ann, "node", "operations")["total"] == 2
    assert run(ann, "order", "list") == {"items": [], "total": 0}
    assert run(ann, "order", "show", "nope", status=1)["code"] == "no_such_order"

    restored = make_node("restored")
    back = run(
        restored,
        *("wallet", "restore", "--name", "Ann", "--words-file", str(words_file)),
        *("--passphrase-file", str(secret)),
    )
    assert back["wallet"] == made["wallet"]


def test_words_for_people(make_node: MakeNode) -> None:
    node = make_node("node")
    command = [sys.executable, "-m", "openstall.app.cli.main", "--home", str(node.home)]
    for words in (["node", "status"], ["catalogue", "search"], ["peers", "list"], ["node", "operations"]):
        ended = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.strip()
    ended = subprocess.run(
        [*command, "wallet", "show"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: There is no wallet yet.")


def test_help_needs_no_node_and_no_heavy_import(tmp_path: Path) -> None:
    heavy = "libp2p, web3, trio, fastapi, httpx, PySide6, sqlite_utils"
    code = (
        "import sys; from click.testing import CliRunner; from openstall.app.cli.main import NOUNS, main\n"
        "for noun in NOUNS:\n"
        "    assert CliRunner().invoke(main, [noun, '--help']).exit_code == 0, noun\n"
        f"print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"
