from __future__ import annotations

import pytest

from openstall.store.database import Store
from openstall.store.price_changes import PriceChange, PriceChanges
from openstall.store.provider_log import BondPaid, ChallengeMet, ProviderLog
from openstall.store.settings import Settings

TERMS = {"price_per_s_micro": 100, "threads": 2}


def change(old: int, new: int, at: int = 5) -> PriceChange:
    return PriceChange(at=at, old_micro=old, new_micro=new, working={"why": "rivals"})


def make(changes: PriceChanges, one: PriceChange) -> bool:
    return changes.make(one, setting="terms", field="price_per_s_micro")


def test_a_change_is_made_and_noted_together(store: Store) -> None:
    settings, changes = Settings(store), PriceChanges(store)
    settings.set("terms", TERMS)
    assert make(changes, change(100, 95))
    assert settings.get("terms") == {"price_per_s_micro": 95, "threads": 2}
    assert changes.newest(10) == [change(100, 95)]


def test_a_price_that_its_owner_has_changed_meanwhile_stays(store: Store) -> None:
    settings, changes = Settings(store), PriceChanges(store)
    assert not make(changes, change(100, 95)), "the switch is off"
    settings.set("terms", TERMS | {"price_per_s_micro": 120})
    assert not make(changes, change(100, 95))
    assert settings.get("terms")["price_per_s_micro"] == 120
    assert changes.newest(10) == []


def test_neither_is_there_where_the_note_cannot_be_written(store: Store) -> None:
    settings, changes = Settings(store), PriceChanges(store)
    settings.set("terms", TERMS)
    broken = PriceChange(at=5, old_micro=100, new_micro=95, working={"why": object()})
    with pytest.raises(TypeError):
        make(changes, broken)
    assert settings.get("terms") == TERMS
    assert changes.newest(10) == []


def test_the_log_keeps_the_newest(store: Store) -> None:
    settings, changes = Settings(store), PriceChanges(store)
    settings.set("terms", TERMS | {"price_per_s_micro": 0})
    for price in range(1_005):
        assert make(changes, change(price, price + 1, at=price))
    kept = changes.newest(5_000)
    assert (len(kept), kept[0].new_micro, kept[-1].old_micro) == (1_000, 1_005, 5)


def test_challenges_and_paid_bonds_are_kept_once(store: Store) -> None:
    log = ProviderLog(store)
    met = ChallengeMet(challenge="c", order_id="o", outcome="passed", elapsed_ms=3, allowed_ms=9, at=7)
    paid = BondPaid(bond="b", case_hash="h", wallet="0xAB", amount_micro=5, at=8)
    for _ in range(2):
        log.keep_challenge(met)
        log.keep_bond(paid)
    assert log.challenges() == [met]
    assert [one.case_hash for one in log.bonds_of({"0xab", "0xcd"})] == ["h"]
    assert log.bonds_of({"0xcd"}) == []
    assert log.bonds_of(set()) == []
