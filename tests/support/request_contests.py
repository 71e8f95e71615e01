"""Random steps on contests, each with the rule that says what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ledger_lab import CREDIT, order_hash
from request_books import DEVELOPERS, EVALUATORS, MOST, REQUESTERS, ROLES, Books, Contest, Moves

from openstall.ledger.contest import ContestTerms, Ranking, contest_id, ranking


class ContestMoves(Books):
    """Open, enter, judge, take prizes, and each way back."""

    def step_contest(self) -> None:
        draw = self.random
        self.contests = [one for one in self.contests if not self.contest_is_over(one)]
        if len(self.contests) < MOST and draw.random() < 0.3:
            self.open_contest()
            return
        if not self.contests:
            return
        contest = draw.choice(self.contests)
        kinds: dict[str, Callable[[], object]] = {
            "enter": lambda: self.enter(contest, self.anyone(*DEVELOPERS)),
            "judge": lambda: self.judge(contest, self.anyone("stranger")),
            "take": lambda: self.take(contest),
            "forfeit": lambda: self.forfeit(contest, self.anyone("stranger")),
            "close": lambda: self.close(contest, self.anyone("stranger")),
            "leave": lambda: self.withdraw_entry(
                contest, self.anyone("stranger"), self.pick(contest.marks, "entered")
            ),
        }
        entering = self.room.now() <= contest.terms.entry_by
        likely = {
            "open": ("enter",) if entering else ("judge", "judge", "close"),
            "judged": ("take", "take", "forfeit", "close"),
        }.get(contest.state, ("leave",))
        name = draw.choice(likely) if draw.random() < 0.75 else draw.choice(list(kinds))
        kinds[name]()

    @staticmethod
    def contest_is_over(contest: Contest) -> bool:
        return contest.state in ("void", "closed") and "entered" not in contest.marks.values()

    def open_contest(self) -> None:
        draw, now, requester = self.random, self.room.now(), self.random.choice(REQUESTERS)
        entry_by = now + draw.randint(50, 500)
        terms = ContestTerms(
            pool_micro=draw.randint(1, 20 * CREDIT),
            deposit_micro=draw.randint(1, 2 * CREDIT),
            entry_by=entry_by,
            judge_by=entry_by + draw.randint(60, 500),
            review_s=draw.randint(100, 600),
            quorum=2,
            evaluators=tuple(wallet.address for wallet in self.room.evaluators),
            weights_bps=draw.choice(((), (10_000,), (7_000, 3_000))),
        )
        named, wallet = order_hash(), self.wallets[requester]
        contest = Contest(requester, named, terms, contest_id(wallet.address, named))

        def rule(at: int) -> Moves | None:
            fits = at < entry_by and self.has(requester, terms.pool_micro)
            return [(requester, "contest", terms.pool_micro)] if fits else None

        def then(at: int) -> None:
            contest.state, contest.since = "open", at
            self.contests.append(contest)

        self.call("open_contest", requester, self.room.contests.open(wallet, named, terms), rule, then)

    def enter(self, contest: Contest, role: str) -> None:
        deposit = contest.terms.deposit_micro
        request = self.room.contests.enter(
            self.wallets[role], contest.key, order_hash(), deposit_micro=deposit
        )

        def rule(at: int) -> Moves | None:
            barred = role in (contest.requester, *EVALUATORS) or role in contest.marks
            timely = contest.state == "open" and at <= contest.terms.entry_by
            fits = timely and not barred and self.has(role, deposit)
            return [(role, "contest", deposit)] if fits else None

        def then(_at: int) -> None:
            contest.marks[role] = "entered"

        self.call("enter", role, request, rule, then)

    def judge(self, contest: Contest, by: str) -> None:
        draw, terms = self.random, contest.terms
        found = self.draw_ranking(contest)
        lie = draw.choice(("", "", "", "few", "twice", "root", "forger"))
        told = replace(found, root=order_hash()) if lie == "root" else found
        places = sorted(draw.sample(range(3), draw.choice((2, 2, 3))))
        signed = [(place, self.room.contests.sign(self.wallets[EVALUATORS[place]], told)) for place in places]
        if lie == "few":
            signed = signed[:1]
        elif lie == "twice":
            signed = [signed[0], signed[0]]
        elif lie == "forger":
            signed[-1] = (signed[-1][0], self.room.contests.sign(self.wallets["d1"], found))

        def rule(at: int) -> Moves | None:
            timely = contest.state == "open" and terms.entry_by < at <= terms.judge_by + terms.review_s
            return [] if timely and not lie and found.total_micro <= terms.pool_micro else None

        def then(at: int) -> None:
            contest.state, contest.since, contest.ranking = "judged", at, found

        self.call("judge", by, self.room.contests.judge(found, signed), rule, then)

    def draw_ranking(self, contest: Contest) -> Ranking:
        """Prizes for some of those who entered, seldom above the pool; sometimes also for one who did not."""
        draw, left, prizes = self.random, contest.terms.pool_micro, dict[str, int]()
        for role in contest.marks:
            if draw.random() < 0.8:
                prizes[self.wallets[role].address] = draw.choice((0, draw.randint(0, left)))
                left -= prizes[self.wallets[role].address]
        if draw.random() < 0.1 or not prizes:
            prizes[self.wallets["d1"].address] = draw.choice((left, left + 1))
        return ranking(contest.key, prizes)

    def known(self, contest: Contest) -> tuple[Ranking, str, int, bool]:
        """The ranking (or one that nobody signed), somebody in it, a prize, and whether that is right."""
        draw = self.random
        true = contest.ranking or self.draw_ranking(contest)
        address, prize = draw.choice(true.prizes)
        role = next(one for one in ROLES if self.wallets[one].address.lower() == address)
        lies = draw.random() < 0.15
        told = replace(true, prizes=((address, prize + 1),)) if lies else true
        return told, role, dict(told.prizes)[address], contest.ranking is not None and not lies

    def take(self, contest: Contest) -> None:
        told, role, prize, right = self.known(contest)
        request = self.room.contests.claim(told, self.wallets[role].address, bytes(80))

        def rule(at: int) -> Moves | None:
            timely = contest.state == "judged" and at <= contest.since + contest.terms.review_s
            within = contest.ranking is not None and contest.claimed + prize <= contest.ranking.total_micro
            fits = timely and right and within and contest.marks.get(role) == "entered"
            return [("contest", role, prize + contest.terms.deposit_micro)] if fits else None

        def then(_at: int) -> None:
            contest.marks[role] = "over"
            contest.claimed += prize

        self.call("take", role, request, rule, then)

    def forfeit(self, contest: Contest, by: str) -> None:
        told, role, prize, right = self.known(contest)

        def rule(at: int) -> Moves | None:
            timely = contest.state == "judged" and at > contest.since + contest.terms.review_s
            fits = timely and right and prize > 0 and contest.marks.get(role) == "entered"
            return [("contest", "sink", contest.terms.deposit_micro)] if fits else None

        def then(_at: int) -> None:
            contest.marks[role] = "over"

        request = self.room.contests.forfeit(told, self.wallets[role].address)
        self.call("forfeit", by, request, rule, then)

    def close(self, contest: Contest, by: str) -> None:
        def rule(at: int) -> Moves | None:
            if contest.state not in ("open", "judged") or at <= contest.exit_after:
                return None
            return [("contest", contest.requester, contest.terms.pool_micro - contest.claimed)]

        def then(_at: int) -> None:
            contest.state = "closed" if contest.state == "judged" else "void"

        self.call("close", by, self.room.contests.close(contest.key), rule, then)

    def withdraw_entry(self, contest: Contest, by: str, role: str) -> None:
        def rule(_at: int) -> Moves | None:
            fits = contest.state in ("void", "closed") and contest.marks.get(role) == "entered"
            return [("contest", role, contest.terms.deposit_micro)] if fits else None

        def then(_at: int) -> None:
            contest.marks[role] = "over"

        request = self.room.contests.withdraw(contest.key, self.wallets[role].address)
        self.call("leave", by, request, rule, then)
