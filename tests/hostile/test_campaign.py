"""The campaign of docs/threat-model.md: a modified client attacks real nodes while they trade."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bad_campaign
import httpx
import pytest
from beside import WIDE, Held, Trades, attacked, lines, settings_of, unharmed, wait_through
from stage import Market, open_market

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROUNDS = 2
"""Each case is thrown at so many of the nodes that it makes sense with, in turn."""
LEAST_TRADES = 3
PATIENCE_S = 240.0
"""For one answer of a node on a machine that has much else to do."""
MEMORY = 96 * 2**20
FILES, THREADS = 64, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A campaign that is over."""

    market: Market
    said: list[dict[str, Any]]
    sales: int
    jobs: int
    beside: int
    before: dict[str, Held]
    after: dict[str, Held]

    def refused(self, case: str) -> None:
        """A case was thrown, and met what its docstring says, whoever it was thrown at."""
        found = [line for line in self.said if line["case"] == case]
        assert found, f"{case} was never thrown"
        assert sum(line["thrown"] for line in found) > 0
        assert [(line["against"], line["fault"]) for line in found if line["fault"]] == []


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("campaign")
    with open_market(folder) as market:
        yield campaign(market, folder, rounds=ROUNDS)


def campaign(market: Market, folder: Path, **settings: Any) -> Seen:
    """Warm up, attack and trade at once, and look at what is left."""
    for peer in market.peers:
        peer.api.timeout = httpx.Timeout(PATIENCE_S)
    market.provider.post("/v1/peers/relay", mode="on")
    offer = market.offer()
    trades = Trades(market=market, model=folder / "none", live=folder / "live.json")
    order = trades.job(offer, WIDE)
    trades.model = next(Path(one["path"]) for one in order["job"]["artefacts"] if one["name"] == "model.onnx")
    listing = trades.sale()
    before = {peer.name: Held.of(peer) for peer in market.peers}
    plan = settings_of(market, live=trades.live, listing=listing, offer=offer, **settings)

    def trade() -> None:
        trades.sale()
        trades.job(offer)

    with attacked(plan, folder) as (process, said):
        beside = wait_through(process, trade, LEAST_TRADES)
        assert process.returncode == 0, (folder / "attack.err").read_text()[-3000:]
        found = lines(said)
    return Seen(
        market=market,
        said=found,
        sales=trades.sales,
        jobs=trades.jobs,
        beside=beside,
        before=before,
        after={peer.name: Held.of(peer) for peer in market.peers},
    )


def test_honest_trades_go_on_beside_every_attack(seen: Seen) -> None:
    """Each trade was compared with what was agreed when it was made: see `beside`."""
    assert seen.beside >= LEAST_TRADES
    unharmed(seen.market, seen.said)
    for name, after in seen.after.items():
        before = seen.before[name]
        assert after.memory - before.memory < MEMORY, name
        assert after.files - before.files < FILES, name
        assert after.threads - before.threads < THREADS, name
        assert after.children <= before.children + 1, name
    thrown = sum(line["thrown"] for line in seen.said)
    told: Counter[str] = sum((Counter(line["told"]) for line in seen.said), Counter())
    summary = {
        "cases": len({line["case"] for line in seen.said}),
        "runs": len(seen.said),
        "thrown": thrown,
        "shut out": sum(len(line["shut_out"]) for line in seen.said),
        "sales": seen.sales,
        "jobs": seen.jobs,
        "rounds of trades while it attacked": seen.beside,
        "memory grown (MiB)": {
            name: (held.memory - seen.before[name].memory) >> 20 for name, held in seen.after.items()
        },
        "told": dict(told.most_common(25)),
    }
    print(json.dumps(summary, indent=1))
    assert thrown > 1_000
    assert {line["case"] for line in seen.said} == {
        one.name for one in bad_campaign.chosen({"only": None, "quick": False})
    }


def test_every_case_has_a_test_of_its_name() -> None:
    assert {f"test_{name}" for name in bad_campaign.CASES} <= set(globals())


# One test for each case of the attacker, under its name: docs/threat-model.md names them in its rows.


def test_flood_of_requests(seen: Seen) -> None:
    seen.refused("flood_of_requests")


def test_flood_of_streams(seen: Seen) -> None:
    seen.refused("flood_of_streams")


def test_half_open_handshakes(seen: Seen) -> None:
    seen.refused("half_open_handshakes")


def test_requests_that_never_end(seen: Seen) -> None:
    seen.refused("requests_that_never_end")


def test_oversized_frames(seen: Seen) -> None:
    seen.refused("oversized_frames")


def test_other_handshakes(seen: Seen) -> None:
    seen.refused("other_handshakes")


def test_nonsense_in_every_protocol(seen: Seen) -> None:
    seen.refused("nonsense_in_every_protocol")


def test_every_field_of_every_message(seen: Seen) -> None:
    seen.refused("every_field_of_every_message")


def test_greetings_without_sense(seen: Seen) -> None:
    seen.refused("greetings_without_sense")


def test_relay_abuse(seen: Seen) -> None:
    seen.refused("relay_abuse")


def test_made_to_knock_at_others_doors(seen: Seen) -> None:
    seen.refused("made_to_knock_at_others_doors")


def test_poisoned_peer_exchange(seen: Seen) -> None:
    seen.refused("poisoned_peer_exchange")


def test_forged_signatures(seen: Seen) -> None:
    seen.refused("forged_signatures")


def test_records_of_another_group(seen: Seen) -> None:
    seen.refused("records_of_another_group")


def test_keys_that_anybody_signs_with(seen: Seen) -> None:
    seen.refused("keys_that_anybody_signs_with")


def test_statements_of_another_kind(seen: Seen) -> None:
    seen.refused("statements_of_another_kind")


def test_dates_that_make_no_sense(seen: Seen) -> None:
    seen.refused("dates_that_make_no_sense")


def test_records_without_sense(seen: Seen) -> None:
    seen.refused("records_without_sense")


def test_text_that_hides(seen: Seen) -> None:
    seen.refused("text_that_hides")


def test_terms_of_the_attackers_own(seen: Seen) -> None:
    seen.refused("terms_of_the_attackers_own")


def test_kinds_that_are_not_built(seen: Seen) -> None:
    seen.refused("kinds_that_are_not_built")


def test_one_statement_in_many_spellings(seen: Seen) -> None:
    seen.refused("one_statement_in_many_spellings")


def test_an_old_version_again(seen: Seen) -> None:
    seen.refused("an_old_version_again")


def test_withdrawing_what_is_anothers(seen: Seen) -> None:
    seen.refused("withdrawing_what_is_anothers")


def test_two_records_with_one_number(seen: Seen) -> None:
    seen.refused("two_records_with_one_number")


def test_false_proof_of_a_contradiction(seen: Seen) -> None:
    seen.refused("false_proof_of_a_contradiction")


def test_more_than_an_author_may_have(seen: Seen) -> None:
    seen.refused("more_than_an_author_may_have")


def test_announcing_what_is_not_there(seen: Seen) -> None:
    seen.refused("announcing_what_is_not_there")


def test_questions_about_the_catalogue_without_sense(seen: Seen) -> None:
    seen.refused("questions_about_the_catalogue_without_sense")


def test_answers_about_the_catalogue_without_sense(seen: Seen) -> None:
    seen.refused("answers_about_the_catalogue_without_sense")


def test_announcements_without_sense(seen: Seen) -> None:
    seen.refused("announcements_without_sense")


def test_sales_on_other_terms(seen: Seen) -> None:
    seen.refused("sales_on_other_terms")


def test_jobs_on_other_terms(seen: Seen) -> None:
    seen.refused("jobs_on_other_terms")


def test_proposals_in_anothers_name(seen: Seen) -> None:
    seen.refused("proposals_in_anothers_name")


def test_copies_that_nobody_signed(seen: Seen) -> None:
    seen.refused("copies_that_nobody_signed")


def test_orders_of_others(seen: Seen) -> None:
    seen.refused("orders_of_others")


def test_messages_out_of_turn(seen: Seen) -> None:
    seen.refused("messages_out_of_turn")


def test_services_without_a_right(seen: Seen) -> None:
    seen.refused("services_without_a_right")


def test_files_of_others(seen: Seen) -> None:
    seen.refused("files_of_others")


def test_sources_that_lie(seen: Seen) -> None:
    seen.refused("sources_that_lie")


def test_letters_of_nobody(seen: Seen) -> None:
    seen.refused("letters_of_nobody")


def test_letters_without_end(seen: Seen) -> None:
    seen.refused("letters_without_end")


def test_forbidden_calls_of_the_chain(seen: Seen) -> None:
    seen.refused("forbidden_calls_of_the_chain")


def test_hands_in_anothers_escrow(seen: Seen) -> None:
    seen.refused("hands_in_anothers_escrow")


def test_syncs_that_never_come(seen: Seen) -> None:
    seen.refused("syncs_that_never_come")
