"""Proposals and copies from strangers: what they cost, and what they cannot get."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trade_lab import NETWORK, TradeLab, funded_job, trade_lab

from openstall.app.services.orders import negotiation
from openstall.app.services.orders.job_follow import _that_fit
from openstall.app.services.orders.job_places import UNPAID_PLACE_S, open_jobs
from openstall.app.services.orders.job_wire import MAX_FRAME, PROTOCOL, FromBuyer, FromProvider, Line, write
from openstall.app.services.orders.placing import _check_package
from openstall.ledger.wallet import Wallet
from openstall.market.errors import OpenstallError, PeerError, Refused
from openstall.market.fields import BlobRef, FileEntry, body_as_dict
from openstall.market.orders.documents import Contract, sign_contract
from openstall.market.records import Listing, Offer, Record, sign_record
from openstall.p2p.framing import Framed
from openstall.p2p.identity import peer_id_from_seed

BLOB = BlobRef(cid="b" + "a" * 58, size=10, sha256="ab" * 32)


def copy_for(lab: TradeLab, seed: bytes, *, fund_by_s: int = 900, **changes: Any) -> dict[str, Any]:
    """The message that hands the lab's seller a sale of which it is the arbiter."""
    fund_by = lab.clock.now() + fund_by_s
    terms = lab.sale(BLOB, "ab" * 32, fund_by=fund_by, deliver_by=fund_by + 9).order.terms
    terms = terms | {"arbiter": lab.seller.wallet.address}
    parties = {"seller": peer_id_from_seed(seed), "seller_wallet": Wallet(secrets.token_bytes(32)).address}
    contract: Contract = lab.order("sale", terms, **parties, **changes)
    return {
        "do": "copy",
        "order": msgspec.to_builtins(contract.order),
        "buyer_signature": sign_contract(contract, lab.buyer.seed),
        "seller_signature": sign_contract(contract, seed),
    }


async def test_an_arbiter_keeps_copies_of_paid_orders_only(tmp_path: Path) -> None:
    """Anybody can name anybody an arbiter, and every open order is watched: the money bounds them."""
    async with trade_lab(tmp_path) as lab:
        with pytest.raises(PeerError) as caught:
            await lab.buyer.negotiation._ask(lab.seller.host.peer_id, copy_for(lab, secrets.token_bytes(32)))
        assert caught.value.code == "not_paid_yet"
        assert await lab.seller.desk.open_order_ids() == []


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("other_network", {"network": "openstall-elsewhere"}),
        ("other_network", {"chain_id": 1}),
        ("bad_times", {"fund_by_s": 30 * 86_400}),
    ],
)
async def test_copies_that_are_not_to_be_watched(tmp_path: Path, code: str, changes: dict[str, Any]) -> None:
    async with trade_lab(tmp_path) as lab:
        with pytest.raises(OpenstallError) as caught:
            await lab.buyer.negotiation._ask(
                lab.seller.host.peer_id, copy_for(lab, secrets.token_bytes(32), **changes)
            )
        assert caught.value.code == code
        assert await lab.seller.desk.open_order_ids() == []


async def test_two_orders_do_not_both_get_the_last_place_which_a_signature_holds_a_moment(
    tmp_path: Path,
) -> None:
    async with trade_lab(tmp_path) as lab:
        provider = lab.seller
        data = await lab.buyer.file("data.csv", b"1\n")
        offer = Offer(
            title="A machine",
            kinds=["train"],
            cpu="",
            threads=1,
            memory_bytes=2**30,
            disk_bytes=2**30,
            gpus=[],
            price_per_s_micro=1_000,
            max_s=600,
            withdraw_delay_s=60,
            wallet=provider.wallet.address,
            chain_id=lab.chain.chain.params.chain_id,
            channel=lab.chain.chain.params.channel,
        )
        record = Record(
            type="offer",
            network=NETWORK,
            author=provider.host.peer_id,
            key="machine",
            seq=1,
            prev="",
            issued=lab.clock.now(),
            expires=lab.clock.now() + 3600,
            body=body_as_dict(offer),
        )
        signed = sign_record(record, provider.seed)
        lab.shelf.records[signed.cid] = signed

        async def one_place(_contract: Contract) -> None:
            taken = await open_jobs(provider.desk)
            await trio.sleep(0.05)
            if taken:
                raise Refused("machine_busy", "Taken.")

        provider.negotiation._ready = one_place
        answers: list[str] = []

        async def propose(contract: Contract) -> None:
            message = {
                "do": "propose",
                "order": msgspec.to_builtins(contract.order),
                "buyer_signature": sign_contract(contract, lab.buyer.seed),
            }
            answer = await lab.buyer.negotiation._ask(provider.host.peer_id, message)
            answers.append(answer.entries[0]["entry"]["code"] if answer.entries else "signed")

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(propose, lab.job([data], offer=signed.cid))
        assert sorted(answers) == ["machine_busy", "signed"]
        assert await open_jobs(provider.desk) == 1
        lab.clock.ahead_s += UNPAID_PLACE_S + 1
        assert await open_jobs(provider.desk) == 0


async def test_a_signature_with_a_service_level_holds_its_place_until_it_lapses(tmp_path: Path) -> None:
    """Else one place could be signed for many times, all paid at once, and the bond pay for the late ones."""
    level = {
        "start_s": 60, "uptime_bps": 9_500, "steps_per_1000s": 0, "bond": "ab" * 32, "penalty_micro": 1_000,
    }  # fmt: skip
    async with trade_lab(tmp_path) as lab:
        data = await lab.buyer.file("data.csv", b"1\n")
        for promise in ({}, {"service": level}):
            await lab.both(lab.job([data], **promise))
        assert await open_jobs(lab.seller.desk) == 2
        lab.clock.ahead_s += 600
        assert await open_jobs(lab.seller.desk) == 1


async def test_a_proposal_whose_signature_was_lost_in_a_crash_ends_by_itself(tmp_path: Path) -> None:
    """Killed between entering the order and signing it, and the buyer never asked again."""
    async with trade_lab(tmp_path) as lab:
        data = await lab.buyer.file("data.csv", b"1\n")
        order = await lab.seller.enter(lab.job([data]), "seller", lab.buyer.seed, state="proposed")
        lab.clock.ahead_s += 2_000
        await lab.seller.provider.step(order)
        assert (await lab.seller.desk.load(order.order_id)).state == "lapsed"


async def test_a_buyer_has_one_stream_per_job(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        ended: list[Framed] = []
        four_ended = trio.Event()

        async def drain(stream: Framed) -> None:
            try:
                while await stream.receive() is not None:
                    pass
            except PeerError:
                pass  # cut: an end too
            ended.append(stream)
            if len(ended) == 4:
                four_ended.set()

        streams = []
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                stream = await lab.buyer.host.open_stream(
                    lab.seller.host.peer_id, PROTOCOL, timeout_s=10, max_frame=MAX_FRAME
                )
                await stream.send(write(FromBuyer(follow=order_id)))
                streams.append(stream)
                nursery.start_soon(drain, stream)
            with trio.fail_after(30):
                await four_ended.wait()
            assert len(ended) == 4  # and whichever came in last is served
            nursery.cancel_scope.cancel()
        for stream in streams:
            await stream.reset()


def test_a_page_of_log_lines_fits_a_frame_in_any_script() -> None:
    for letter in ("a", "\N{SNOWMAN}", "\U0001f600", '"', "\\"):
        lines = [Line(seq=number, text=letter * 400) for number in range(200)]
        fits = _that_fit(lines)
        assert 1 <= len(fits) <= len(lines)
        assert len(write(FromProvider(lines=fits))) <= MAX_FRAME


@pytest.mark.parametrize(
    "names", [["model.pkl"], ["model.onnx", "setup.exe"], ["a.onnx", "b.onnx"], ["notes.md"]]
)
def test_a_package_that_no_honest_seller_could_publish_is_not_bought(names: list[str]) -> None:
    files = [FileEntry(name=name, size=1, sha256="ab" * 32) for name in names]
    values: dict[str, Any] = dict.fromkeys(Listing.__struct_fields__, "")
    with pytest.raises(Refused) as caught:
        _check_package(Listing(**values | {"files": files}))
    assert caught.value.code == "unsafe_format"


async def test_an_arbiter_who_was_away_gets_the_copy_while_the_money_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a buyer could buy while the arbiter sleeps, dispute, and win by its silence."""
    monkeypatch.setattr(negotiation, "COPY_AGAIN_S", 0.0)
    async with trade_lab(tmp_path) as lab:
        buyer = lab.buyer
        package = await lab.seller.file("package", b"sealed package")
        lab.seller.access.make_public(package.blob.cid)
        arbiter = lab.chain.arbiter.address
        order_id = await lab.both(lab.sale(package.blob, "ab" * 32, arbiter=arbiter))
        asked: list[str] = []

        async def peer_of(_wallet: str) -> None:
            asked.append((await buyer.desk.load(order_id)).state)

        monkeypatch.setattr(type(buyer.negotiation._catalogue), "peer_of", staticmethod(peer_of))
        for _ in range(2):
            await buyer.sale_buyer.step(await buyer.desk.load(order_id))
        assert asked == ["funded", "funded"]


async def test_orders_that_wait_for_days_leave_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpaid order costs a stranger nothing; one that waits for days takes its place for days."""
    monkeypatch.setattr(negotiation, "MAX_UNPAID", 4)
    async with trade_lab(tmp_path) as lab:
        terms = lab.sale(BLOB, "ab" * 32).sale
        listing = {
            "title": terms.title,
            "summary": "",
            "licence": "MIT",
            "format": "onnx",
            "files": msgspec.to_builtins(terms.files),
            "blob": msgspec.to_builtins(terms.blob),
            "key_sha256": terms.key_sha256,
            "card": {"intended_use": "", "training_data": "", "limits": "", "metrics": []},
            "price_micro": terms.price_micro,
            "wallet": lab.seller.wallet.address,
            "chain_id": lab.chain.chain.params.chain_id,
            "escrow": terms.escrow,
            "arbiter": "",
            "deliver_s": 60,
            "review_s": terms.review_s,
        }
        record = Record(
            type="listing",
            network=NETWORK,
            author=lab.seller.host.peer_id,
            key="model",
            seq=1,
            prev="",
            issued=lab.clock.now(),
            expires=lab.clock.now() + 3600,
            body=listing,
        )
        signed = sign_record(record, lab.seller.seed)
        lab.shelf.records[signed.cid] = signed

        async def propose(fund_by_s: int) -> str:
            fund_by = lab.clock.now() + fund_by_s
            contract = lab.sale(BLOB, "ab" * 32, listing=signed.cid, fund_by=fund_by, deliver_by=fund_by + 60)
            message = {
                "do": "propose",
                "order": msgspec.to_builtins(contract.order),
                "buyer_signature": sign_contract(contract, lab.buyer.seed),
            }
            try:
                await lab.buyer.negotiation._ask(lab.seller.host.peer_id, message)
            except (PeerError, Refused) as error:
                return error.code
            return "signed"

        days = 6 * 86_400
        found = [await propose(wait_s) for wait_s in (days, days, days, 900, days, 900, 900)]
        full = "too_many_unpaid"
        assert found == ["signed", "signed", full, "signed", full, "signed", full]
