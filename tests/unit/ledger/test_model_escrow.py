"""The escrow of a model made to order on the real bytecode: each end, each deadline, each forged verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_lab import CREDIT, Lab, order_hash
from request_lab import RequestLab

from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.model_escrow import (
    MAX_TRIES,
    ModelEscrowClient,
    ModelTerms,
    Verdict,
    model_order_key,
)
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, InvalidOrder

PRICE = 9 * CREDIT
ROLES = ("buyer", "seller", "arbiter", "outsider", "evaluator")


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """The same chain with parties of their own: what a test leaves in the contracts is missed by no other."""
    return Lab(lab.host, lab.clock)


@pytest.fixture
def room(lab: Lab) -> RequestLab:
    return RequestLab(lab)


def wallet(room: RequestLab, role: str) -> Wallet:
    if role == "evaluator":
        return room.evaluators[0]
    found = getattr(room.lab, role)
    assert isinstance(found, Wallet)
    return found


def at(room: RequestLab, state: str) -> bytes:
    """An order that was led to a state."""
    if state == "funded":
        return room.funded()[0]
    key = room.submitted()
    if state in ("passed", "handed_over", "disputed"):
        room.assess(key, True)
    if state == "failed":
        room.assess(key, False)
    if state in ("handed_over", "disputed"):
        room.lab.do(room.lab.seller, room.escrow.hand_over(key, bytes(80)))
    if state == "disputed":
        room.lab.do(room.lab.buyer, room.escrow.dispute(key, order_hash()))
    return key


def steps(room: RequestLab, key: bytes) -> dict[str, TxRequest]:
    escrow = room.escrow
    return {
        "submit": escrow.submit(key, order_hash()),
        "assess": escrow.assess(key, passed=True, verdicts=room.verdicts(key, True)),
        "hand_over": escrow.hand_over(key, bytes(80)),
        "complete": escrow.complete(key),
        "claim": escrow.claim(key),
        "refund": escrow.refund(key),
        "cancel": escrow.cancel(key),
        "dispute": escrow.dispute(key, order_hash()),
        "rule": escrow.rule(key, 5_000),
        "settle_silent": escrow.settle_silent(key),
    }


def would_pass(room: RequestLab, request: TxRequest, by: Wallet) -> bool:
    try:
        room.lab.chain.simulate(request, by.address)
    except ChainError:
        return False
    return True


ANYONE = frozenset(ROLES)
BEFORE_ITS_TIME: dict[str, dict[str, frozenset[str]]] = {
    "funded": {"submit": frozenset({"seller"}), "cancel": frozenset({"seller"})},
    "submitted": {"assess": ANYONE, "cancel": frozenset({"seller"})},
    "passed": {"hand_over": frozenset({"seller"}), "cancel": frozenset({"seller"})},
    "failed": {
        "submit": frozenset({"seller"}),
        "dispute": frozenset({"seller"}),
        "cancel": frozenset({"seller"}),
    },
    "handed_over": {
        "complete": frozenset({"buyer"}),
        "dispute": frozenset({"buyer"}),
        "cancel": frozenset({"seller"}),
    },
    "disputed": {
        "hand_over": frozenset({"seller"}),
        "complete": frozenset({"buyer"}),
        "cancel": frozenset({"seller"}),
        "rule": frozenset({"arbiter"}),
    },
}


@pytest.mark.parametrize("state", BEFORE_ITS_TIME)
def test_who_may_do_what_in_each_state_before_its_time_is_over(room: RequestLab, state: str) -> None:
    key = at(room, state)
    allowed = BEFORE_ITS_TIME[state]
    for name, request in steps(room, key).items():
        for role in ROLES:
            may = role in allowed.get(name, frozenset())
            assert would_pass(room, request, wallet(room, role)) == may, f"{name} by {role}"


AFTER_ITS_TIME = {
    "funded": ("refund", "buyer"),
    "submitted": ("refund", "buyer"),
    "passed": ("refund", "buyer"),
    "failed": ("refund", "buyer"),
    "handed_over": ("claim", "seller"),
    "disputed": ("settle_silent", "both"),
}


@pytest.mark.parametrize("state", AFTER_ITS_TIME)
def test_every_state_has_a_deadline_and_an_exit_that_a_stranger_can_take(
    room: RequestLab, state: str
) -> None:
    lab = room.lab
    buyer, seller = lab.balance(lab.buyer), lab.balance(lab.seller)
    key = at(room, state)
    order = room.escrow.order_by_key(key)
    assert order.state == state
    assert order.deadline_at is not None
    name, heir = AFTER_ITS_TIME[state]
    assert not lab.send(lab.outsider, steps(room, key)[name]).ok, "before its time"
    room.pass_to(order.deadline_at)
    others = {
        other: steps(room, key)[other] for other in ("refund", "claim", "settle_silent") if other != name
    }
    assert not any(lab.send(lab.outsider, request).ok for request in others.values())
    if state != "disputed":
        late = (lab.buyer, lab.seller)
        assert not any(lab.send(party, room.escrow.dispute(key, order_hash())).ok for party in late)
    assert not lab.send(lab.arbiter, room.escrow.rule(key, 5_000)).ok
    assert not lab.send(lab.seller, room.escrow.submit(key, order_hash())).ok
    lab.do(lab.outsider, steps(room, key)[name])
    gains = lab.balance(lab.buyer) - buyer, lab.balance(lab.seller) - seller
    assert gains == {"buyer": (0, 0), "seller": (-PRICE, PRICE), "both": (-PRICE // 2, PRICE // 2)}[heir]
    ended = room.escrow.order_by_key(key)
    assert ended.state in ("completed", "refunded", "ruled")
    assert ended.deadline_at is None
    for request in steps(room, key).values():
        assert not any(lab.send(wallet(room, role), request).ok for role in ("buyer", "seller", "arbiter"))


def test_a_model_that_fails_may_be_delivered_again_until_the_tries_are_used_up(room: RequestLab) -> None:
    lab, escrow = room.lab, room.escrow
    key = at(room, "failed")
    order = escrow.order_by_key(key)
    room.pass_to(order.since + order.terms.rules.review_s)
    assert not lab.send(lab.outsider, escrow.refund(key)).ok, "there is a try left, and time"
    lab.do(lab.seller, escrow.submit(key, order_hash()))
    first = escrow.assess(key, passed=False, verdicts=room.verdicts(key, False, change={"attempt": 1}))
    assert not lab.send(lab.outsider, first).ok, "the verdict on an earlier try"
    room.assess(key, False)
    order = escrow.order_by_key(key)
    assert order.attempt == 2
    with pytest.raises(ChainError, match="has used all its tries"):
        lab.do(lab.seller, escrow.submit(key, order_hash()))
    assert [(one.attempt, one.passed) for one in escrow.assessments(key)] == [(1, False), (2, False)]
    room.pass_to(order.since + order.terms.rules.review_s)
    assert room.now() < order.terms.rules.deliver_by
    lab.do(lab.outsider, escrow.refund(key))


def test_silent_evaluators_let_either_party_call_the_arbiter_and_else_the_money_goes_back(
    room: RequestLab,
) -> None:
    lab, escrow = room.lab, room.escrow
    for party in (lab.buyer, lab.seller):
        key = room.submitted()
        order = escrow.order_by_key(key)
        with pytest.raises(ChainError, match="not come yet"):
            lab.do(party, escrow.dispute(key, order_hash()))
        room.pass_to(order.since + order.terms.rules.evaluate_s)
        assert not lab.send(lab.outsider, escrow.dispute(key, order_hash())).ok
        lab.do(party, escrow.dispute(key, order_hash()))
        lab.do(lab.seller, escrow.hand_over(key, b"the key, sealed for the buyer"))
        before = lab.balance(lab.arbiter), lab.balance(lab.seller)
        lab.do(lab.arbiter, escrow.rule(key, 2_500))
        fee = PRICE * 200 // 10_000
        assert lab.balance(lab.arbiter) - before[0] == fee
        assert lab.balance(lab.seller) - before[1] == PRICE - fee - (PRICE - fee) // 4
        assert escrow.handed_over(key) == [b"the key, sealed for the buyer"]


def test_late_evaluators_are_heard_as_long_as_nobody_has_acted_on_their_silence(room: RequestLab) -> None:
    key = room.submitted()
    order = room.escrow.order_by_key(key)
    room.pass_to(order.since + order.terms.rules.evaluate_s)
    room.assess(key, True)
    assert room.escrow.order_by_key(key).state == "passed"


@pytest.mark.parametrize("state", ["handed_over", "disputed"])
def test_a_buyer_who_accepts_pays_at_once(room: RequestLab, state: str) -> None:
    before = room.lab.balance(room.lab.seller)
    key = at(room, state)
    room.lab.do(room.lab.buyer, room.escrow.complete(key))
    assert room.lab.balance(room.lab.seller) - before == PRICE


@pytest.mark.parametrize("state", BEFORE_ITS_TIME)
def test_a_seller_can_give_the_money_back_from_every_state(room: RequestLab, state: str) -> None:
    before = room.lab.balance(room.lab.buyer)
    key = at(room, state)
    room.lab.do(room.lab.seller, room.escrow.cancel(key))
    assert room.lab.balance(room.lab.buyer) == before


def test_an_order_without_an_arbiter_knows_no_dispute(room: RequestLab) -> None:
    key, _ = room.funded(arbiter="")
    room.lab.do(room.lab.seller, room.escrow.submit(key, order_hash()))
    room.assess(key, True)
    room.lab.do(room.lab.seller, room.escrow.hand_over(key, bytes(80)))
    assert not room.lab.send(room.lab.buyer, room.escrow.dispute(key, order_hash())).ok
    order = room.escrow.order_by_key(key)
    assert order.terms.rules.arbiter == ""
    assert order.deadline_at is not None
    room.pass_to(order.deadline_at)
    room.lab.do(room.lab.outsider, room.escrow.claim(key))


def test_an_odd_amount_is_halved_without_loss(room: RequestLab) -> None:
    lab = room.lab
    key, terms = room.funded(amount=7)
    lab.do(lab.seller, room.escrow.submit(key, order_hash()))
    room.pass_to(room.escrow.order_by_key(key).since + terms.rules.evaluate_s)
    lab.do(lab.buyer, room.escrow.dispute(key, order_hash()))
    before = lab.balance(lab.buyer), lab.balance(lab.seller)
    room.pass_to(room.escrow.order_by_key(key).since + terms.rules.arbiter_s)
    lab.do(lab.outsider, room.escrow.settle_silent(key))
    assert (lab.balance(lab.buyer) - before[0], lab.balance(lab.seller) - before[1]) == (3, 4)


FORGERIES = (
    "too_few",
    "twice",
    "stranger",
    "seller",
    "other_attempt",
    "other_verdict",
    "other_model",
    "other_order",
    "other_report",
    "other_chain",
    "other_contract",
    "place_too_high",
    "lengths",
    "nothing",
)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_only_enough_different_evaluators_over_this_very_try_decide(room: RequestLab, forgery: str) -> None:
    lab, escrow, key = room.lab, room.escrow, room.submitted()
    good = room.verdicts(key, True)
    params = lab.host.params
    if forgery == "too_few":
        bad = good[:1]
    elif forgery == "twice":
        bad = [good[0], good[0]]
    elif forgery in ("stranger", "seller"):
        signer = lab.outsider if forgery == "stranger" else lab.seller
        bad = [good[0], replace(room.verdicts(key, True, [signer])[0], place=1)]
    elif forgery == "other_chain":
        foreign = Chain(replace(params, chain_id=params.chain_id + 1), lab.host.handle, clock=lab.clock)
        bad = room.verdicts(key, True, signing=ModelEscrowClient(foreign))
    elif forgery == "other_contract":
        elsewhere = Chain(replace(params, model_escrow=params.escrow), lab.host.handle, clock=lab.clock)
        bad = room.verdicts(key, True, signing=ModelEscrowClient(elsewhere))
    elif forgery == "place_too_high":
        bad = [good[0], replace(good[1], place=3)]
    elif forgery == "other_report":
        bad = [good[0], replace(good[1], report_hash=order_hash())]
    elif forgery == "nothing":
        bad = []
    elif forgery == "lengths":
        data = escrow._abi.call_data("assess", key, True, [0, 1], [good[0].report_hash], [good[0].signature])
        request = replace(escrow.assess(key, passed=True, verdicts=good), data=data)
        assert not lab.send(lab.outsider, request).ok
        return
    else:
        changes: dict[str, dict[str, object]] = {
            "other_attempt": {"attempt": 2},
            "other_verdict": {"passed": False},
            "other_model": {"model_hash": order_hash()},
            "other_order": {"key": order_hash()},
        }
        bad = [good[0], room.verdicts(key, True, room.evaluators[1:2], change=changes[forgery])[0]]
    request = escrow.assess(key, passed=True, verdicts=bad)
    with pytest.raises(ChainError, match="too few of those who were named have signed"):
        lab.do(lab.outsider, request)
    assert not lab.send(lab.outsider, request).ok
    lab.do(lab.outsider, escrow.assess(key, passed=True, verdicts=good))
    assert not lab.send(lab.outsider, escrow.assess(key, passed=True, verdicts=good)).ok, "twice"


def test_the_digest_is_the_contracts_own(room: RequestLab) -> None:
    verdict = Verdict(
        key=order_hash(), model_hash=order_hash(), attempt=3, passed=True, report_hash=order_hash()
    )
    members = (verdict.key, verdict.model_hash, verdict.attempt, verdict.passed, verdict.report_hash)
    onchain = room.lab.chain.view("ModelEscrow", "assessmentDigest", *members)
    assert onchain == (room.escrow.digest(verdict),)
    signature = room.escrow.sign(room.evaluators[0], verdict)
    assert room.escrow.signer(verdict, signature) == room.evaluators[0].address.lower()
    with pytest.raises(InvalidOrder):
        room.escrow.signer(verdict, b"short")
    for change in ({"attempt": 0}, {"attempt": MAX_TRIES + 1}, {"key": b"short"}, {"report_hash": b""}):
        with pytest.raises(InvalidOrder):
            room.escrow.digest(replace(verdict, **change))  # type: ignore[arg-type]


def test_whoever_pays_for_another_cannot_occupy_its_order(room: RequestLab) -> None:
    """Else a stranger with one millionth of a credit could keep every auction from being awarded."""
    lab, named = room.lab, order_hash()
    terms = ModelTerms(
        seller=lab.outsider.address,
        amount_micro=1,
        rules=room.rules(evaluators=(lab.arbiter.address,), arbiter="", quorum=1),
    )
    stranger = room.rich()
    funding = room.escrow.fund(stranger, named, terms)
    lab.do(stranger, funding)
    packed = (terms.seller, lab.host.params.credit, 1, terms.rules.packed())
    approve = _approve(lab, lab.host.params.model_escrow)
    lab.do(stranger, approve)
    data = room.escrow._abi.call_data("fundFor", lab.buyer.address, named, packed)
    lab.do(stranger, replace(funding, data=data))
    buyer = lab.buyer.address
    own = model_order_key(payer=buyer, buyer=buyer, request_hash=named)
    assert room.escrow.order_by_key(own).state == "none"
    real = ModelTerms(seller=lab.seller.address, amount_micro=PRICE, rules=room.rules())
    lab.do(lab.buyer, room.escrow.fund(lab.buyer, named, real))
    assert not lab.send(lab.buyer, room.escrow.fund(lab.buyer, named, real)).ok
    order = room.escrow.order(payer=buyer, buyer=buyer, request_hash=named)
    assert order.matches(buyer=buyer, terms=real, token=lab.host.params.credit)
    assert not order.matches(buyer=buyer, terms=replace(real, amount_micro=1), token=lab.host.params.credit)


def _approve(lab: Lab, spender: str) -> TxRequest:
    from openstall.ledger.abi import codec

    data = codec("Credit").call_data("approve", spender, 1)
    return TxRequest(to=lab.host.params.credit, data=data, gas=100_000, what="approve")


def test_keys_and_hashes_that_cannot_be_one_are_refused(room: RequestLab) -> None:
    key = room.submitted()
    room.assess(key, True)
    for sealed in (b"", bytes(257)):
        with pytest.raises(InvalidOrder):
            room.escrow.hand_over(key, sealed)
        data = room.escrow._abi.call_data("handOver", key, sealed)
        request = replace(room.escrow.hand_over(key, b"x"), data=data)
        assert not room.lab.send(room.lab.seller, request).ok
    other, _ = room.funded()
    assert not room.lab.send(room.lab.seller, room.escrow.submit(other, bytes(32))).ok
    with pytest.raises(InvalidOrder):
        room.escrow.rule(key, 10_001)
    data = room.escrow._abi.call_data("rule", at(room, "disputed"), 10_001)
    assert not room.lab.send(room.lab.arbiter, replace(room.escrow.rule(key, 0), data=data)).ok
    with pytest.raises(InvalidOrder):
        model_order_key(payer=room.lab.buyer.address, buyer=room.lab.buyer.address, request_hash=b"")
