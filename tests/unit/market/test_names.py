"""Names that are taken for other names, and those that are not."""

# ruff: noqa: RUF001, RUF003 - letters that look alike are what it is about

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import names
from openstall.market.names import Known

ME = Known(peer_id="me", name="Anna Clinic", role="you")
HOST = Known(peer_id="host", name="Ben", role="host")
FRIEND = Known(peer_id="friend", name="Modern Shop", role="partner")
ARBITER = Known(peer_id="judge", name="Vera Rossi", role="arbiter")
KNOWN = [ARBITER, FRIEND, HOST, ME]
lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "Аnnа"),  # Cyrillic А and а
        ("Anna", "ANNA"),
        ("AIice", "Alice"),  # a capital I
        ("Bob", "B0b"),
        ("paypal", "раураl"),
        ("modern", "rnodern"),
        ("Oliver", "0liver"),
        ("José", "Jose"),
        ("Anna", "Ａｎｎａ"),  # full width
        ("Anna", "𝐀𝗇𝓃𝒶"),
        ("Anna Clinic", "Anna-Clinic."),
        ("Anna", "An\u200dna"),
        ("Ψ lab", "ψ lab"),
    ],
)
def test_taken_for_each_other(one: str, other: str) -> None:
    assert names.alike(one, other)
    assert names.alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("Anna", "Hanna"), ("Ben", "Bob"), ("Iris", "Lars"), ("", ""), ("!?", "…")]
)
def test_told_apart(one: str, other: str) -> None:
    assert not names.alike(one, other)


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("Openstall Support", "support"),
        ("OpenstallTeam", "openstall"),
        ("Ѕupрort", "support"),  # Cyrillic Ѕ and р
        ("Supp0rt", "support"),
        ("Аdmin", "admin"),
        ("The Arbiter", "arbiter"),
        ("Badminton club", ""),
        ("Anna", ""),
    ],
)
def test_offices_that_nobody_holds(name: str, claimed: str) -> None:
    assert names.office(name) == claimed


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("Paγpal", ["mixed_scripts"]),
        ("Σigma", ["mixed_scripts"]),
        ("Иван Petrov", []),
        ("田中さん Tanaka", []),
        ("한국 Korea", []),
        ("Ayşe's stall", []),
        ("Anna\u200f!", ["direction"]),
        ("Anna אנה", ["direction"]),
        ("אנה", []),
        ("مرحبا", []),
    ],
)
def test_odd_letters(name: str, codes: list[str]) -> None:
    assert [one.code for one in names.oddities(name)] == codes


def codes(peer_id: str, name: str) -> list[str]:
    return [one.code for one in names.marks_of(peer_id, name, KNOWN)]


def test_a_stranger_with_a_known_name_is_marked_with_whose_it_is() -> None:
    (mark,) = names.marks_of("stranger", "Véra  Rossi", KNOWN)
    assert mark.code == "looks_like"
    assert "an arbiter, “Vera Rossi”" in mark.words
    assert codes("stranger", "Anna CIinic") == ["looks_like"]
    assert codes("stranger", "BEN") == ["looks_like"]
    assert codes("stranger", "rnodern shop") == ["looks_like"]
    assert codes("stranger", "Zoe") == []


def test_nobody_is_marked_for_its_own_name() -> None:
    for one in KNOWN:
        assert codes(one.peer_id, one.name) == []


def test_who_is_known_better_is_not_suspected_for_another() -> None:
    twins = [*KNOWN, Known(peer_id="other judge", name="Modern Shop", role="arbiter")]
    assert names.marks_of("friend", "Modern Shop", twins) == []
    (mark,) = names.marks_of("other judge", "Modern Shop", twins)
    assert "somebody you trade with" in mark.words


def test_the_closest_of_several_is_named() -> None:
    alike = [ARBITER, Known(peer_id="me", name="Vera Rossi", role="you")]
    (mark,) = names.marks_of("stranger", "Vera Rossi", alike)
    assert "your own" in mark.words


def test_an_office_is_no_reproach_to_whom_one_knows() -> None:
    known = [Known(peer_id="host", name="Escrow friends", role="host")]
    assert names.marks_of("host", "Escrow friends", known) == []
    assert [one.code for one in names.marks_of("x", "Escrow helpers", known)] == ["claims_office"]


@given(lines)
def test_any_name_is_like_itself_whatever_its_case(name: str) -> None:
    if names.skeletons(name):
        assert names.alike(name, name)
        assert names.alike(name, f" {name}.")
    names.marks_of("stranger", name, KNOWN)


@given(st.text("abcdefghkmnopqrstuvwxyz ", min_size=1, max_size=40))
def test_a_name_in_other_letters_is_found(name: str) -> None:
    cyrillic = str.maketrans("aceopxyi", "асеорхуі")
    assert names.alike(name, name.translate(cyrillic)) or not names.skeletons(name)
    assert names.alike(name, name.upper()) or not names.skeletons(name)
