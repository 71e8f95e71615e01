"""Who fits whom, as this node sees it: developers for a request, open requests for its own card."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from openstall.app.clock import Clock
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.door import PEER_KEY
from openstall.app.services.requests.draft import RequestChain
from openstall.app.services.requests.standing import standing_of
from openstall.app.threads import Workers
from openstall.market.errors import NotFound
from openstall.market.fields import DAY_S, body_as_dict
from openstall.market.money import format_amount
from openstall.market.requests.bodies import DeveloperBody, RequestBody
from openstall.market.requests.matching import Candidate, Match, Standing, rank
from openstall.market.schema import fit
from openstall.store.orders import Orders
from openstall.store.search import MAX_LIMIT

TYPE = "developer"
CARD_LIFE_S = 90 * DAY_S
MOST_CANDIDATES: Final = 1_000
SHOWN = 100


@dataclass(slots=True, kw_only=True)
class DeveloperDesk:
    """Own card and rankings. Call from the trio thread."""

    catalogue: Catalogue
    orders: Orders
    chain: RequestChain
    seed: bytes
    workers: Workers
    clock: Clock

    async def set_card(self, *, title: str, skills: str, tasks: Sequence[str], places: int) -> dict[str, Any]:
        """Publish the own card, or a new one in its place."""
        plain = {
            "title": title.strip(),
            "skills": skills,
            "tasks": list(dict.fromkeys(tasks)),
            "places": places,
            "wallet": self.chain.wallet,
            "chain_id": self.chain.chain_id,
        }
        card = fit(plain, DeveloperBody, "developer")
        await self.catalogue.publish(TYPE, PEER_KEY, body_as_dict(card), life_s=CARD_LIFE_S)
        return await self.card()

    async def card(self) -> dict[str, Any]:
        """The own card as the catalogue has it. Raises NotFound."""
        try:
            return await self.catalogue.own(TYPE, PEER_KEY)
        except NotFound as error:
            raise NotFound(
                "no_card",
                "You have no card as a developer.",
                "Make one: say what you know, which tasks you take, and how many orders.",
            ) from error

    async def off(self) -> None:
        """Take the own card back. Raises NotFound."""
        await self.card()
        await self.catalogue.withdraw(TYPE, PEER_KEY)

    async def developers_for(self, cid: str) -> dict[str, Any]:
        """Developers for a request of anybody, best first, with the reasons.

        Raises:
            NotFound: it is no live request.
        """
        request = (await self.catalogue.live_record(cid)).body
        if not isinstance(request, RequestBody):
            raise NotFound("no_such_request", "That is no request for a model.", "Search for one.")
        cards = [item for item in await self._live(TYPE) if not item["mine"]]
        candidates = [
            Candidate(
                cid=item["cid"],
                author=item["author"],
                words=f"{item['body']['title']} {item['body']['skills']}",
                tasks=tuple(item["body"]["tasks"]),
                places=item["body"]["places"],
                room_words=_room_words(item["body"]["places"]),
                standing=await self._standing(item["author"], "buyer"),
            )
            for item in cards
        ]
        return await self._ranked(_words_of(body_as_dict(request)), (request.task,), candidates, cards, cid)

    async def inbox(self) -> dict[str, Any]:
        """Open requests of others for the own card, best first, with the reasons; or NotFound `no_card`."""
        card = await self.card()
        body, now = card["body"], self.clock.now()
        wanted = [
            item
            for item in await self._live("request")
            if not item["mine"] and item["body"]["commit_by"] > now
        ]
        candidates = [
            Candidate(
                cid=item["cid"],
                author=item["author"],
                words=_words_of(item["body"]),
                tasks=(item["body"]["task"],),
                places=body["places"],
                room_words=_offer_words(item["body"]),
                standing=await self._standing(item["author"], "seller"),
            )
            for item in wanted
        ]
        words = f"{body['title']} {body['skills']}"
        return await self._ranked(words, tuple(body["tasks"]), candidates, wanted, card["cid"])

    async def _ranked(
        self,
        words: str,
        tasks: tuple[str, ...],
        candidates: Sequence[Candidate],
        items: Sequence[dict[str, Any]],
        about: str,
    ) -> dict[str, Any]:
        seed = hmac.digest(self.seed, b"openstall matching v1" + about.encode(), "sha256").hex()
        ranking: list[Match] = await self.workers.work(rank, words, tasks, candidates, seed=seed)
        by_cid = {item["cid"]: item for item in items}
        shown = [_as_dict(match, by_cid[match.cid]) for match in ranking[:SHOWN]]
        return {"items": shown, "total": len(ranking), "looked_at": len(candidates)}

    async def _live(self, type_: str) -> list[dict[str, Any]]:
        """The newest live records of a type, a thousand at most."""
        found: list[dict[str, Any]] = []
        while len(found) < MOST_CANDIDATES:
            page = await self.catalogue.find(types=(type_,), limit=MAX_LIMIT, offset=len(found))
            found += page["items"]
            if len(page["items"]) < MAX_LIMIT:
                break
        return found

    async def _standing(self, peer_id: str, role: str) -> Standing:
        return await self.workers.store(standing_of, self.orders, peer_id, role=role, now=self.clock.now())


def _words_of(body: dict[str, Any]) -> str:
    parts = [
        body["title"],
        body["summary"],
        body["task"],
        body["target"],
        *body["classes"],
        *body["features"],
    ]
    return " ".join(parts)


def _room_words(places: int) -> str:
    return f"Takes {'one order' if places == 1 else f'{places} orders'} now, by its own word."


def _offer_words(body: dict[str, Any]) -> str:
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(body["commit_by"]))
    if body["mechanism"] == "contest":
        return f"A contest for {format_amount(body['budget_micro'])} credits; enter until {until}."
    return f"Pays up to {format_amount(body['budget_micro'])} credits; bids until {until}."


def _as_dict(match: Match, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "cid": match.cid,
        "author": item["author"],
        "author_name": item["author_name"],
        "author_marks": item.get("author_marks", []),
        "ways_out": item.get("ways_out", []),
        "reachable": item["reachable"],
        "title": item["body"]["title"],
        "lane": match.lane,
        "score": match.score,
        "relevance": match.relevance,
        "standing": match.standing,
        "capacity": match.capacity,
        "shared_words": list(match.shared_words),
        "reasons": list(match.reasons),
        "body": item["body"],
    }
