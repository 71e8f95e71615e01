"""A requester's side before the auction: what is kept, and that a kill between two steps loses nothing."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from real_tables import wine
from request_bench import CHAIN, CONTEST, SEED, Bench, Killed, terms

from openstall.app.services.keys import package_key, rows_key, rows_seed, training_key
from openstall.app.services.requests.draft import RequestChain
from openstall.app.services.requests.sealed_rows import RowsFolder
from openstall.app.services.requests.service import RequestService
from openstall.app.services.sealing import describe, unseal
from openstall.market import ids
from openstall.market.errors import ChainError, Conflict, InvalidRecord, Refused, StoreError
from openstall.market.requests.bodies import columns_of
from openstall.market.requests.rows import Commitment, check_rows, check_shown, prove
from openstall.store.database import Store
from openstall.store.requests import Requests


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    wine(tmp_path / "wine.csv")
    store = Store(tmp_path / "store.sqlite")
    yield Bench(folder=tmp_path, store=store)
    store.close()


def run(action: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(action)


async def is_whole(service: RequestService, request_id: str) -> None:
    """What was published is what lies sealed at home."""
    published = await service.publish(request_id)
    rows, seed = await service.rows_of(request_id), await service.seed_of(request_id)
    commitment = Commitment(root=published.body.rows_root, rows=published.body.rows)
    assert rows.columns == columns_of(published.body)
    check_rows(rows.rows, seed, commitment)
    check_shown(prove(rows.rows, seed, [3])[0], index=3, commitment=commitment)
    assert published.request_hash == ids.digest_in_cid(published.record.cid)
    assert rows.as_csv().decode().splitlines()[0] == ",".join(columns_of(published.body))


def test_a_request_and_its_sealed_rows(bench: Bench) -> None:
    async def scene() -> None:
        service = bench.node()
        made = await bench.create(service)
        assert made["state"] == "open"
        assert bench.budgets.opened == [made["cid"]]
        assert made["cid"] == bench.shelf.records[made["request_id"]].cid
        await is_whole(service, made["request_id"])
        assert await service.items() == [{name: made[name] for name in (await service.items())[0]}]
        raw = (bench.folder / "requests" / f"{made['request_id']}.rows").read_bytes()
        assert b"barolo" not in raw
        assert bench.shelf.signed == 1, "publishing again only reads"

    run(scene)


@pytest.mark.parametrize("where", ["before publishing", "after publishing"])
def test_a_kill_while_publishing_loses_nothing_and_signs_once(bench: Bench, where: str) -> None:
    async def scene() -> None:
        bench.shelf.die = where
        with pytest.raises(Killed):
            await bench.create(bench.node())
        bench.shelf.die = ""
        again = bench.node()
        assert [one["state"] for one in await again.items()] == ["draft"]
        await again.resume()
        (found,) = await again.items()
        assert found["state"] == "open"
        assert bench.budgets.opened == [found["cid"]]
        await is_whole(again, found["request_id"])
        assert bench.shelf.signed == 1

    run(scene)


def test_a_kill_before_the_books_leaves_no_rows_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_args: object, **_named: object) -> None:
        raise Killed

    async def scene() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Requests, "draft", dies)
            with pytest.raises(Killed):
                await bench.create(bench.node())
        assert len(bench.files()) == 1
        (bench.folder / "requests" / ".0011.rows.5e1f0a").write_bytes(b"half")
        again = bench.node()
        await again.resume()
        assert bench.files() == []
        assert await again.items() == []

    run(scene)


def test_a_draft_whose_time_has_passed_is_not_published_any_more(bench: Bench) -> None:
    async def scene() -> None:
        bench.shelf.die = "before publishing"
        with pytest.raises(Killed):
            await bench.create(bench.node())
        bench.shelf.die = ""
        bench.clock.at += 3 * 86_400
        again = bench.node()
        await again.resume()
        assert await again.items() == []
        assert bench.files() == []
        assert bench.shelf.records == {}

    run(scene)


@pytest.mark.parametrize("where", ["before withdrawing", "after withdrawing"])
def test_a_kill_while_withdrawing_is_finished_later(bench: Bench, where: str) -> None:
    async def scene() -> None:
        service = bench.node()
        made = await bench.create(service)
        await service.over(made["request_id"])
        bench.shelf.die = where
        with pytest.raises(Killed):
            await service.withdraw(made["request_id"])
        bench.shelf.die = ""
        again = bench.node()
        await again.resume()
        assert (await again.show(made["request_id"]))["state"] == "withdrawn"
        assert bench.shelf.records == {}
        assert bench.files() == []

    run(scene)


def test_while_its_auction_is_open_there_is_no_way_back(bench: Bench) -> None:
    async def scene() -> None:
        service = bench.node()
        made = await bench.create(service)
        with pytest.raises(Conflict) as caught:
            await service.withdraw(made["request_id"])
        assert caught.value.code == "wrong_state"
        assert made["request_id"] in bench.shelf.records
        await is_whole(service, made["request_id"])

    run(scene)


def test_training_data_opens_with_the_winners_key_alone(bench: Bench) -> None:
    async def scene() -> None:
        service = bench.node()
        made = await bench.create(service, training=bench.folder / "wine.csv")
        blob = made["body"]["training"]
        assert bench.access.allowed(blob["cid"], "anybody")
        out = service.training.blobs.path(blob["cid"])
        key = await service.training_key_of(made["request_id"])
        (opened,) = unseal(out, key, [describe(bench.folder / "wine.csv")], bench.folder / "opened")
        assert opened.read_bytes() == (bench.folder / "wine.csv").read_bytes()
        again = bench.node()
        assert not bench.access.allowed(blob["cid"], "anybody")
        await again.resume()
        assert bench.access.allowed(blob["cid"], "anybody"), "served again after a start"

    run(scene)


def test_training_data_must_have_the_columns(bench: Bench) -> None:
    async def scene() -> None:
        other = bench.folder / "other.csv"
        other.write_text("a,b\n" + "1,2\n" * 20)
        with pytest.raises(Refused, match="There is no column “alcohol”"):
            await bench.create(bench.node(), training=other)
        assert bench.files() == []
        assert bench.shelf.records == {}

    run(scene)


def test_sealed_rows_in_the_training_data_are_told_before_anything_is_signed(bench: Bench) -> None:
    """Told by value, in whatever order the columns stand; a table of other rows is passed in silence."""

    def spelt(line: str) -> str:
        cells = line.split(",")
        return ",".join(reversed([cells[0] + ("0" if "." in cells[0] else ".0"), *cells[1:]]))

    lines = (bench.folder / "wine.csv").read_text().splitlines()
    head = ",".join(reversed(lines[0].split(",")))
    seen, unseen = bench.folder / "seen.csv", bench.folder / "unseen.csv"
    seen.write_text("\n".join([head, *map(spelt, lines[7:18])]) + "\n")
    unseen.write_text("\n".join([lines[0], *(f"-{line}" for line in lines[7:18])]) + "\n")

    async def main() -> tuple[list[str], list[str], list[str]]:
        told = [
            (await bench.node().preview(bench.file, None, training))["table"]["warnings"]
            for training in (None, seen, unseen)
        ]
        return told[0], told[1], told[2]

    without, overlapping, apart = trio.run(main)
    assert overlapping[:-1] == without
    assert "11 of your 178 sealed rows are in the training data too (lines 8, 9, 10, " in overlapping[-1]
    assert "17, …)" in overlapping[-1]
    assert apart == without


def test_an_evaluator_that_has_not_agreed_is_told_before_anything_is_signed(bench: Bench) -> None:
    agreed, silent = "0x" + "44" * 20, "0x" + "55" * 20
    bench.shelf.willing.add(agreed)

    async def told(*evaluators: str) -> list[str]:
        seen = await bench.node().preview(bench.file, terms(evaluators=evaluators))
        found: list[str] = seen["table"]["warnings"]
        return found

    async def main() -> None:
        usual = await told()
        assert await told(agreed, CHAIN.wallet) == usual
        assert [one.split(" ")[0] for one in await told(agreed, silent) if one not in usual] == [silent]

    trio.run(main)


def test_the_least_time_for_bids_survives_the_time_that_sealing_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of a minute that is signed some seconds after its words is still one of a minute."""
    clock, write = bench.clock, RowsFolder.write

    def slowly(self: RowsFolder, *args: Any) -> None:
        clock.at += 5
        write(self, *args)

    monkeypatch.setattr(RowsFolder, "write", slowly)

    async def main() -> dict[str, Any]:
        service = bench.node()
        seen = (await service.preview(bench.file, terms()))["file_sha256"]
        return await service.create(
            bench.file, terms(bid_s=60), seen=seen, training=None, progress=lambda *_: None
        )

    made = trio.run(main)
    assert made["commit_by"] - clock.now() >= 60


def test_a_file_that_changed_after_the_preview_is_not_signed_for(bench: Bench) -> None:
    async def scene() -> None:
        service = bench.node()
        seen = (await service.preview(bench.file, None))["file_sha256"]
        with bench.file.path.open("a") as file:
            file.write(bench.file.path.read_text().splitlines()[1] + "\n")
        with pytest.raises(Conflict) as caught:
            await service.create(
                bench.file,
                terms(),
                seen=seen,
                training=None,
                progress=lambda *_told: None,  # type: ignore[arg-type]
            )
        assert caught.value.code == "table_changed"
        assert (bench.files(), bench.shelf.records) == ([], {})

    run(scene)


def test_a_group_without_the_contracts_has_no_requests(bench: Bench) -> None:
    async def scene() -> None:
        old = RequestChain(wallet=CHAIN.wallet, chain_id=7, auction="", escrow="")
        with pytest.raises(ChainError) as caught:
            await bench.create(bench.node(old))
        assert caught.value.code == "no_requests"
        assert (await bench.node(old).preview(bench.file, None))["table"]["rows"] == 178

    run(scene)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"metric": "rmse"}, "bad_figures"),
        ({"threshold": "1.5"}, "bad_figures"),
        ({"deposit_micro": 60_000_000}, "bad_money"),
        ({"quorum": 2}, "bad_evaluators"),
        ({"arbiter": CHAIN.wallet}, "same_party"),
        ({"evaluators": ("0x" + "22" * 20,)}, "party_is_contract"),
        ({"bid_s": 1}, "bad_times"),
        ({"title": ""}, "bad_schema"),
        ({"weights_bps": (10_000,)}, "bad_mechanism"),
        ({**CONTEST, "evaluators": ()}, "bad_evaluators"),
        ({**CONTEST, "arbiter": "0x" + "88" * 20}, "bad_mechanism"),
        ({**CONTEST, "weights_bps": (6_000, 3_000)}, "bad_mechanism"),
        ({**CONTEST, "weights_bps": (3_000, 7_000)}, "bad_mechanism"),
    ],
)
def test_terms_without_sense_are_told_at_the_preview(bench: Bench, changes: Any, code: str) -> None:
    async def scene() -> None:
        with pytest.raises(InvalidRecord) as caught:
            await bench.node().preview(bench.file, terms(**changes))
        assert caught.value.code == code

    run(scene)


def test_the_summary_says_who_judges_and_what_comes_back(bench: Bench) -> None:
    async def scene() -> None:
        told = await bench.node().preview(
            bench.file, terms(evaluators=("0x" + "55" * 20, "0x" + "44" * 20), quorum=2)
        )
        words = " ".join(line["words"] for line in told["summary"])
        for part in (
            "3 classes of “cultivar”",
            "2 of 2 evaluators",
            "50.00 credits at most",
            "money comes back",
        ):
            assert part in words

    run(scene)


def test_the_summary_says_that_training_data_is_there(bench: Bench) -> None:
    async def scene() -> None:
        for wanted, training, words in (
            (terms(), None, "none"),
            (terms(), bench.folder / "wine.csv", "to the winner alone"),
            (terms(**CONTEST), bench.folder / "wine.csv", "everybody of the group"),
        ):
            told = await bench.node().preview(bench.file, wanted, training)
            assert words in {line["what"]: line["words"] for line in told["summary"]}["Training data"]

    run(scene)


def test_the_summary_of_a_contest_says_what_it_pays_and_who_has_the_data(bench: Bench) -> None:
    async def scene() -> None:
        told = await bench.node().preview(bench.file, terms(**CONTEST))
        words = {line["what"]: line["words"] for line in told["summary"]}
        assert "By rank: 60 %, 30 %, 10 %." in words["Prizes"]
        assert "2 of 3 evaluators" in words["Measured by"]
        assert "have 2 hours to hand" in words["Hand-over"]
        assert "3 tries for each developer" in words["Practice"]
        assert "Budget" not in words
        shared = await bench.node().preview(bench.file, terms(**CONTEST | {"weights_bps": ()}))
        assert "in proportion to how good" in " ".join(line["words"] for line in shared["summary"])

    run(scene)


def test_a_contest_is_signed_with_its_own_contract_and_no_delivery(bench: Bench) -> None:
    async def scene() -> None:
        service = bench.node()
        seen = (await service.preview(bench.file, terms(**CONTEST)))["file_sha256"]
        data = bench.folder / "wine.csv"
        made = await service.create(
            bench.file,
            terms(**CONTEST),
            seen=seen,
            training=data,
            progress=lambda *_told: None,  # type: ignore[arg-type]
        )
        body = made["body"]
        assert (body["auction"], body["escrow"], body["contest"]) == ("", "", CHAIN.contest)
        assert body["deliver_by"] == body["reveal_by"]
        words = {line["what"]: line["words"] for line in made["summary"]}
        assert "everybody of the group who asks" in words["Training data"]
        assert bench.budgets.opened == [made["cid"]]

    run(scene)


def test_a_group_without_the_contract_of_contests_has_none(bench: Bench) -> None:
    async def scene() -> None:
        old = replace(CHAIN, contest="")
        with pytest.raises(ChainError) as caught:
            await bench.node(old).preview(bench.file, terms(**CONTEST))
        assert caught.value.code == "no_requests"
        assert (await bench.node(old).preview(bench.file, terms()))["summary"]

    run(scene)


def test_lost_or_altered_rows_are_said_to_be_lost(bench: Bench) -> None:
    async def scene() -> None:
        service = bench.node()
        made = await bench.create(service)
        path = service.sealed.path(made["request_id"])
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        with pytest.raises(StoreError) as caught:
            await service.rows_of(made["request_id"])
        assert caught.value.code == "rows_lost"

    run(scene)


def test_every_purpose_has_a_key_of_its_own() -> None:
    salt = secrets.token_hex(16)
    keys = {derive(SEED, salt) for derive in (package_key, rows_key, rows_seed, training_key)}
    assert len(keys) == 4
