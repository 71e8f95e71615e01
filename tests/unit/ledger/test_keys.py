from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openstall.ledger import keychain
from openstall.ledger.keys import (
    change_passphrase,
    check_words,
    create_seed_file,
    load_peer_seed,
    new_words,
    open_seed_file,
    seed_file_kind,
)
from openstall.ledger.wallet import Wallet
from openstall.market.errors import IdentityError

ABANDON = ("abandon",) * 23 + ("art",)
PASSPHRASE = "correct horse battery"


def code(error: pytest.ExceptionInfo[IdentityError]) -> str:
    return error.value.code


def test_fresh_words_are_24_and_sound() -> None:
    first, second = new_words(), new_words()
    assert len(first) == 24
    assert first != second
    check_words(first)


def test_words_lead_to_the_address_of_any_other_wallet() -> None:
    # The published test vector of BIP-39 for 32 zero bytes; the address is what MetaMask and ethers derive.
    assert Wallet.from_words(ABANDON).address == "0xF278cF59F82eDcf871d630F28EcC8056f25C1cdb"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (ABANDON[:12], "word_count"),
        ((*ABANDON[:4], "abandonn", *ABANDON[5:]), "unknown_word"),
        ((*ABANDON[:-1], "zoo"), "checksum"),
        ((ABANDON[-1], *ABANDON[:-1]), "checksum"),
    ],
)
def test_wrong_words_are_named(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(IdentityError) as error:
        check_words(words)
    assert code(error) == expected


def test_the_wrong_word_is_told_by_its_position() -> None:
    with pytest.raises(IdentityError, match="Word 5"):
        check_words((*ABANDON[:4], "abandonn", *ABANDON[5:]))


def test_seed_file_round_trip_is_private_and_holds_no_word(tmp_path: Path) -> None:
    path, words = tmp_path / "wallet.json", new_words()
    create_seed_file(path, words, passphrase=PASSPHRASE)
    assert open_seed_file(path, passphrase=PASSPHRASE) == words
    assert seed_file_kind(path) == "passphrase"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["wallet.json"]
    with pytest.raises(IdentityError) as error:
        create_seed_file(path, words, passphrase=PASSPHRASE)
    assert code(error) == "exists"


def test_wrong_passphrase_and_no_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "wallet.json"
    create_seed_file(path, ABANDON, passphrase=PASSPHRASE)
    with pytest.raises(IdentityError) as error:
        open_seed_file(path, passphrase=PASSPHRASE + " ")
    assert code(error) == "wrong_passphrase"
    with pytest.raises(IdentityError) as error:
        open_seed_file(path, passphrase=None)
    assert code(error) == "passphrase_needed"


def test_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError) as error:
        create_seed_file(tmp_path / "wallet.json", ABANDON, passphrase="short")
    assert code(error) == "short_passphrase"
    assert not (tmp_path / "wallet.json").exists()


def test_change_passphrase_keeps_the_words(tmp_path: Path) -> None:
    path = tmp_path / "wallet.json"
    create_seed_file(path, ABANDON, passphrase=PASSPHRASE)
    with pytest.raises(IdentityError):
        change_passphrase(path, old="not this one", new="another passphrase")
    change_passphrase(path, old=PASSPHRASE, new="another passphrase")
    assert open_seed_file(path, passphrase="another passphrase") == ABANDON
    with pytest.raises(IdentityError):
        open_seed_file(path, passphrase=PASSPHRASE)


def test_truncated_seed_file_is_damaged_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "wallet.json"
    create_seed_file(path, ABANDON, passphrase=PASSPHRASE)
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(IdentityError) as error:
            seed_file_kind(path)
        assert code(error) == "damaged_wallet"


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"kind": "plain"},
        {"salt": "not base64!"},
        {"nonce": "AAAA"},
        {"box": ""},
        {"extra": 1},
        {"box": "A" * 5000},
    ],
)
def test_malformed_seed_files_are_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "wallet.json"
    create_seed_file(path, ABANDON, passphrase=PASSPHRASE)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(IdentityError) as error:
        open_seed_file(path, passphrase=PASSPHRASE)
    assert code(error) == "damaged_wallet"


@pytest.mark.parametrize("field", ["salt", "nonce", "box"])
def test_a_changed_byte_never_gives_other_words(tmp_path: Path, field: str) -> None:
    path = tmp_path / "wallet.json"
    create_seed_file(path, ABANDON, passphrase=PASSPHRASE)
    record = json.loads(path.read_text())
    text = record[field]
    record[field] = ("B" if text[0] == "A" else "A") + text[1:]
    path.write_text(json.dumps(record))
    with pytest.raises(IdentityError) as error:
        open_seed_file(path, passphrase=PASSPHRASE)
    assert code(error) == "wrong_passphrase"


def test_without_a_trusted_keychain_nothing_is_written(tmp_path: Path) -> None:
    if keychain.available():
        pytest.skip("this session has a keychain that belongs to a person")
    with pytest.raises(IdentityError) as error:
        create_seed_file(tmp_path / "wallet.json", ABANDON, passphrase=None)
    assert code(error) == "no_keychain"
    assert not (tmp_path / "wallet.json").exists()


def test_peer_seed_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "peer.key"
    seed = load_peer_seed(path)
    assert load_peer_seed(path) == seed
    assert seed.peer_id.startswith("12D3KooW")
    assert seed.secret.hex() not in repr(seed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    with pytest.raises(IdentityError) as error:
        load_peer_seed(path)
    assert code(error) == "damaged_peer_key"
    assert path.read_bytes() == b"short"


def test_wallet_shows_no_key() -> None:
    assert repr(Wallet(b"\x07" * 32)) == f"Wallet({Wallet(bytes([7]) * 32).address})"


def test_the_ethereum_packages_leave_the_recursion_limit_sane() -> None:
    # py_ecc raises it to 100,000; a nested JSON text from a peer would then kill the process.
    program = (
        "import sys, json\n"
        "from openstall.ledger.keys import new_words\n"
        "from openstall.ledger.wallet import Wallet\n"
        "from openstall.ledger.memory_host import MemoryHost\n"
        "import openstall.ledger.group_host, openstall.ledger.binding, openstall.ledger.vouchers\n"
        "Wallet.from_words(new_words())\n"
        "first = sys.getrecursionlimit()\n"
        "MemoryHost().create('x')\n"
        "print(first, sys.getrecursionlimit())\n"
        "try:\n    json.loads('[' * 500_000)\n"
        "except RecursionError:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    limits, word = done.stdout.splitlines()
    first, last = map(int, limits.split())
    assert first <= 3_000
    assert last <= 12_500
    assert word == "refused"
