from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import canonical, merkle

# The entries, roots and proofs that the Certificate Transparency projects test their trees with.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PROOF_OF_5_IN_8 = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
)
trees = st.lists(st.binary(max_size=6), min_size=1, max_size=70)


def recursive_root(entries: list[bytes]) -> bytes:
    """The definition in the RFC, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = recursive_root(entries[:split]), recursive_root(entries[split:])
    return hashlib.sha256(b"\1" + left + right).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert merkle.root_of(LEAVES[:size]).hex() == ROOTS[size]


def test_a_proof_is_that_of_certificate_transparency() -> None:
    assert tuple(part.hex() for part in merkle.inclusion_proof(LEAVES, 5)) == PROOF_OF_5_IN_8


@given(trees)
def test_the_root_is_that_of_the_definition(entries: list[bytes]) -> None:
    assert merkle.root_of(map(merkle.leaf_hash, entries)) == recursive_root(entries)


@given(trees)
def test_every_entry_is_proved_and_at_its_own_place_alone(entries: list[bytes]) -> None:
    distinct = [merkle.leaf_hash(bytes([at]) + entry) for at, entry in enumerate(entries)]
    root, size = merkle.root_of(distinct), len(distinct)
    for index, leaf in enumerate(distinct):
        proof = merkle.inclusion_proof(distinct, index)
        holds = [
            other
            for other in range(size)
            if merkle.is_included(root=root, size=size, index=other, leaf=leaf, proof=proof)
        ]
        assert holds == [index]


@pytest.mark.parametrize("index", [-1, 8])
def test_there_is_no_proof_of_what_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(LEAVES, index)


@pytest.mark.parametrize(
    "changed",
    [
        {"root": bytes(32)},
        {"size": 6},
        {"size": 0},
        {"size": 2**33},
        {"index": 4},
        {"index": -1},
        {"index": 8},
        {"leaf": LEAVES[4]},
        {"leaf": ENTRIES[5]},
        {"proof": ()},
        {"proof": tuple(bytes.fromhex(part) for part in PROOF_OF_5_IN_8[:2])},
        {"proof": tuple(bytes.fromhex(part) for part in (*PROOF_OF_5_IN_8, PROOF_OF_5_IN_8[2]))},
        {"proof": (b"", *(bytes.fromhex(part) for part in PROOF_OF_5_IN_8))},
    ],
)
def test_a_proof_of_anything_else_proves_nothing(changed: dict[str, object]) -> None:
    proof = tuple(bytes.fromhex(part) for part in PROOF_OF_5_IN_8)
    asked = {"root": bytes.fromhex(ROOTS[8]), "size": 8, "index": 5, "leaf": LEAVES[5], "proof": proof}
    assert merkle.is_included(**asked)  # type: ignore[arg-type]
    assert not merkle.is_included(**{**asked, **changed})  # type: ignore[arg-type]


def test_a_node_does_not_pass_for_an_entry() -> None:
    pair = LEAVES[0] + LEAVES[1]
    assert merkle.root_of([merkle.leaf_hash(pair), *LEAVES[2:4]]) != merkle.root_of(LEAVES[:4])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_a_sealed_row_is_its_salt_and_its_canonical_form(cells: list[str]) -> None:
    salt = merkle.salt_of(bytes(32), 7)
    assert merkle.sealed_leaf(salt, cells) == hashlib.sha256(b"\0" + salt + canonical.encode(cells)).digest()


def test_salts_follow_from_seed_and_place() -> None:
    salts = {merkle.salt_of(seed, at) for seed in (bytes(32), b"\1" * 32) for at in range(100)}
    assert len(salts) == 200
    assert {len(salt) for salt in salts} == {merkle.SALT_BYTES}
    with pytest.raises(ValueError, match="16 bytes"):
        merkle.sealed_leaf(b"short", ["1"])
