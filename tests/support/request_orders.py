"""Random steps on orders of models, each with the rule that says what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ledger_lab import CREDIT, order_hash
from request_books import DEVELOPERS, ENDED, EVALUATORS, MOST, REQUESTERS, Books, Moves, Order

from openstall.ledger.model_escrow import ModelTerms, SignedVerdict, Verdict, model_order_key

HELD = ("funded", "submitted", "passed", "failed", "handed_over", "disputed")


class OrderMoves(Books):
    """Pay, deliver, assess, hand over, and each way out."""

    def step_order(self) -> None:
        draw = self.random
        self.orders = [one for one in self.orders if one.state not in ENDED]
        if len(self.orders) < MOST and draw.random() < 0.3:
            self.fund()
            return
        if not self.orders:
            return
        order = draw.choice(self.orders)
        kinds: dict[str, Callable[[], object]] = {
            "submit": lambda: self.submit(order, self.anyone(order.seller)),
            "assess": lambda: self.assess(order, self.anyone("stranger")),
            "hand_over": lambda: self.hand_over(order, self.anyone(order.seller)),
            "complete": lambda: self.complete(order, self.anyone(order.buyer)),
            "claim": lambda: self.claim_order(order, self.anyone("stranger")),
            "refund": lambda: self.refund(order, self.anyone("stranger")),
            "cancel": lambda: self.cancel(order, self.anyone(order.seller)),
            "dispute": lambda: self.dispute(order, self.anyone(order.buyer, order.seller)),
            "rule": lambda: self.judge_dispute(order, self.anyone("arbiter")),
            "settle_silent": lambda: self.settle_silent(order, self.anyone("stranger")),
        }
        if self.room.now() > order.exit_after and draw.random() < 0.5:
            ways_out = {"handed_over": "claim", "disputed": "settle_silent"}
            kinds[ways_out.get(order.state, "refund")]()
            return
        in_time = self.room.now() <= order.terms.rules.deliver_by
        likely: dict[str, tuple[str, ...]] = {
            "funded": ("submit",) if in_time else ("refund",),
            "submitted": ("assess", "dispute", "refund"),
            "passed": ("hand_over", "hand_over", "refund"),
            "failed": ("submit", "dispute", "refund") if in_time else ("dispute", "refund"),
            "handed_over": ("complete", "dispute", "submit"),
            "disputed": ("hand_over", "rule", "settle_silent"),
        }
        name = draw.choice(likely[order.state]) if draw.random() < 0.75 else draw.choice(list(kinds))
        kinds[name]()

    def fund(self) -> None:
        draw, buyer, seller = self.random, self.random.choice(REQUESTERS), self.random.choice(DEVELOPERS)
        deliver_by = self.room.now() + draw.randint(300, 3_000)
        terms = ModelTerms(
            seller=self.wallets[seller].address,
            amount_micro=draw.choice((1, 3, draw.randint(1, 20 * CREDIT))),
            rules=replace(self.rules(), deliver_by=deliver_by),
        )
        named, wallet = order_hash(), self.wallets[buyer]
        key = model_order_key(payer=wallet.address, buyer=wallet.address, request_hash=named)
        order = Order(buyer, buyer, seller, terms, key)

        def rule(at: int) -> Moves | None:
            fits = at < deliver_by and self.has(buyer, terms.amount_micro)
            return [(buyer, "escrow", terms.amount_micro)] if fits else None

        def then(at: int) -> None:
            order.state, order.since = "funded", at
            self.orders.append(order)

        self.call("fund", buyer, self.room.escrow.fund(wallet, named, terms), rule, then)

    def submit(self, order: Order, by: str) -> None:
        model = order_hash()

        def rule(at: int) -> Moves | None:
            rules = order.terms.rules
            timely = at <= rules.deliver_by and order.attempt < rules.tries
            fits = by == order.seller and order.state in ("funded", "failed") and timely
            return [] if fits else None

        def then(at: int) -> None:
            order.state, order.since, order.model = "submitted", at, model
            order.attempt += 1

        self.call("submit", by, self.room.escrow.submit(order.key, model), rule, then)

    def assess(self, order: Order, by: str) -> None:
        draw, escrow = self.random, self.room.escrow
        passed = draw.random() < 0.5
        lie = draw.choice(("", "", "", "", "few", "twice", "attempt", "verdict", "model", "forger"))
        chosen = sorted(draw.sample(range(3), draw.choice((2, 2, 3))))
        true = Verdict(
            key=order.key,
            model_hash=order.model,
            attempt=order.attempt or 1,
            passed=passed,
            report_hash=order_hash(),
        )
        told = {
            "attempt": replace(true, attempt=true.attempt + 1),
            "verdict": replace(true, passed=not passed),
            "model": replace(true, model_hash=order_hash()),
        }.get(lie, true)
        signed = [
            SignedVerdict(
                place=place,
                report_hash=true.report_hash,
                signature=escrow.sign(self.wallets[EVALUATORS[place]], told),
            )
            for place in chosen
        ]
        if lie == "few":
            signed = signed[:1]
        elif lie == "twice":
            signed = [signed[0], signed[0]]
        elif lie == "forger":
            forged = escrow.sign(self.wallets[order.seller], true)
            signed[-1] = replace(signed[-1], signature=forged)

        def rule(_at: int) -> Moves | None:
            return [] if order.state == "submitted" and not lie else None

        def then(at: int) -> None:
            order.state, order.since = "passed" if passed else "failed", at

        self.call("assess", by, escrow.assess(order.key, passed=passed, verdicts=signed), rule, then)

    def hand_over(self, order: Order, by: str) -> None:
        def rule(at: int) -> Moves | None:
            timely = order.state == "disputed" or (
                order.state == "passed" and at <= order.since + order.terms.rules.review_s
            )
            return [] if by == order.seller and timely else None

        def then(at: int) -> None:
            if order.state == "passed":
                order.state, order.since = "handed_over", at

        self.call("hand_over", by, self.room.escrow.hand_over(order.key, bytes(80)), rule, then)

    def complete(self, order: Order, by: str) -> None:
        def rule(_at: int) -> Moves | None:
            fits = by == order.buyer and order.state in ("handed_over", "disputed")
            return self.to_seller(order) if fits else None

        self.call("complete", by, self.room.escrow.complete(order.key), rule, self.ends(order, "completed"))

    def claim_order(self, order: Order, by: str) -> None:
        def rule(at: int) -> Moves | None:
            fits = order.state == "handed_over" and at > order.exit_after
            return self.to_seller(order) if fits else None

        self.call("claim", by, self.room.escrow.claim(order.key), rule, self.ends(order, "completed"))

    def refund(self, order: Order, by: str) -> None:
        def rule(at: int) -> Moves | None:
            fits = order.state in ("funded", "submitted", "passed", "failed") and at > order.exit_after
            return self.to_buyer(order) if fits else None

        self.call("refund", by, self.room.escrow.refund(order.key), rule, self.ends(order, "refunded"))

    def cancel(self, order: Order, by: str) -> None:
        def rule(_at: int) -> Moves | None:
            return self.to_buyer(order) if by == order.seller and order.state in HELD else None

        self.call("cancel", by, self.room.escrow.cancel(order.key), rule, self.ends(order, "refunded"))

    def dispute(self, order: Order, by: str) -> None:
        def rule(at: int) -> Moves | None:
            opens = order.since
            if order.state == "submitted":
                opens += order.terms.rules.evaluate_s
            timely = at <= opens + order.terms.rules.review_s and (order.state != "submitted" or at > opens)
            parties = {
                "submitted": (order.buyer, order.seller),
                "failed": (order.seller,),
                "handed_over": (order.buyer,),
            }.get(order.state, ())
            return [] if by in parties and timely else None

        def then(at: int) -> None:
            order.state, order.since = "disputed", at

        self.call("dispute", by, self.room.escrow.dispute(order.key, order_hash()), rule, then)

    def judge_dispute(self, order: Order, by: str) -> None:
        share = self.random.randint(0, 10_000)

        def rule(at: int) -> Moves | None:
            if by != "arbiter" or order.state != "disputed" or at > order.exit_after:
                return None
            amount = order.terms.amount_micro
            fee = amount * order.terms.rules.arbiter_fee_bps // 10_000
            back = (amount - fee) * share // 10_000
            rest = amount - fee - back
            return [
                ("escrow", "arbiter", fee),
                ("escrow", order.buyer, back),
                ("escrow", order.seller, rest),
            ]

        self.call("rule", by, self.room.escrow.rule(order.key, share), rule, self.ends(order, "ruled"))

    def settle_silent(self, order: Order, by: str) -> None:
        def rule(at: int) -> Moves | None:
            if order.state != "disputed" or at <= order.exit_after:
                return None
            amount = order.terms.amount_micro
            return [("escrow", order.buyer, amount // 2), ("escrow", order.seller, amount - amount // 2)]

        request = self.room.escrow.settle_silent(order.key)
        self.call("settle_silent", by, request, rule, self.ends(order, "ruled"))

    @staticmethod
    def ends(order: Order, state: str) -> Callable[[int], None]:
        def then(_at: int) -> None:
            order.state = state

        return then

    @staticmethod
    def to_seller(order: Order) -> Moves:
        return [("escrow", order.seller, order.terms.amount_micro)]

    @staticmethod
    def to_buyer(order: Order) -> Moves:
        return [("escrow", order.buyer, order.terms.amount_micro)]
