"""Who is who: marks beside the names of peers, so that nobody can pass for somebody else.

Arbiters and the host of a group are known by their keys. There is no staff: who claims to be any is marked.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.threads import Workers
from openstall.market import contacts, names
from openstall.market.names import Known, Role
from openstall.store.acquaintances import Acquaintances
from openstall.store.records import Records
from openstall.store.search import Search

FRESH_S = 10.0
"""Whom one knows is looked up anew after this long."""
NEWEST = 200
"""Listings and requests whose arbiters count as known in the group."""
MOST_ARBITERS = 50
MOST_READ = 4_000

Marks = dict[str, list[dict[str, str]]]
"""By peer id: what is odd about its name, as codes and words."""


@dataclass(slots=True, kw_only=True)
class Names:
    """Call from the trio thread. `me` is one's own peer id and name; `group` its network and host, if any."""

    me: Callable[[], tuple[str, str]]
    group: Callable[[], tuple[str, str | None] | None]
    records: Records
    search: Search
    acquaintances: Acquaintances
    workers: Workers
    clock: Clock
    _known: list[Known] | None = None
    _until: float = 0.0
    _read: OrderedDict[str, list[dict[str, str]]] = field(default_factory=OrderedDict)

    async def about(self, named: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """For each peer id with its name: the `roles` that its key has, and the `marks` of its name."""
        known = await self.known()
        return await self.workers.work(
            lambda: {peer: _about(peer, name, known) for peer, name in named.items()}
        )

    async def marks_of(self, named: Mapping[str, str]) -> Marks:
        """For each peer id with its name: what is odd about the name."""
        return {peer: found["marks"] for peer, found in (await self.about(named)).items()}

    async def dress(self, items: Sequence[dict[str, Any]]) -> None:
        """Add to records of the catalogue what is to be said of their authors' names and of their texts."""
        about = await self.about({item["author"]: item["author_name"] for item in items})
        outside = await self.workers.work(lambda: {item["cid"]: self._ways_out(item) for item in items})
        for item in items:
            found = about[item["author"]]
            item |= {"author_roles": found["roles"], "author_marks": found["marks"]}
            item["ways_out"] = outside[item["cid"]]

    async def dress_others(self, items: Sequence[dict[str, Any]]) -> None:
        """The same for orders: of the other party."""
        about = await self.about({item["other"]: item["other_name"] for item in items})
        for item in items:
            found = about[item["other"]]
            item |= {"other_roles": found["roles"], "other_marks": found["marks"]}

    async def dress_named(
        self,
        items: Sequence[dict[str, Any]],
        *,
        peer: str = "peer_id",
        name: str = "name",
        marks: str = "marks",
    ) -> None:
        """The same for any lines that name a peer: the marks of its name, beside it."""
        found = await self.marks_of({item[peer]: item[name] for item in items if item[peer]})
        for item in items:
            item[marks] = found[item[peer]] if item[peer] else []

    async def known(self) -> list[Known]:
        """The peers whose names others may not borrow, the closest first."""
        if self._known is None or trio.current_time() > self._until:
            self._known = await self.workers.store(self._look)
            self._until = trio.current_time() + FRESH_S
        return self._known

    def _ways_out(self, item: Mapping[str, Any]) -> list[dict[str, str]]:
        """Of one record; it never changes, so it is read once."""
        found = self._read.pop(item["cid"], None)
        self._read[item["cid"]] = found = ways_out(item["body"]) if found is None else found
        if len(self._read) > MOST_READ:
            self._read.popitem(last=False)
        return found

    def _look(self) -> list[Known]:
        peer_id, name = self.me()
        own = [Known(peer_id=peer_id, name=name, role="you")]
        group = self.group()
        if group is None:
            return own
        (network, host), now = group, self.clock.now()
        wallets = [*self.acquaintances.arbiters(), *self._named_as_arbiter(network, now)]
        bound = (
            self.search.peer_bound_to(network, one, now=now)
            for one in list(dict.fromkeys(wallets))[:MOST_ARBITERS]
        )
        roles: list[tuple[Role, list[str]]] = [
            ("host", [host] if host else []),
            ("partner", self.acquaintances.partners()),
            ("arbiter", [one for one in bound if one is not None]),
        ]
        titles = self.records.titles(network, "peer", [one for _, several in roles for one in several])
        return own + [
            Known(peer_id=one, name=titles[one], role=role)
            for role, several in roles
            for one in several
            if one in titles and one != peer_id
        ]

    def _named_as_arbiter(self, network: str, now: int) -> list[str]:
        """Wallets that the newest listings and requests name; whoever is named by none is no arbiter here."""
        page = self.search.find(network, now=now, types=("listing", "request"), limit=NEWEST)
        raws = self.records.raws([row.cid for row in page.items])
        bodies = (json.loads(raw)["record"]["body"] for raw in raws.values())
        return [wallet.lower() for body in bodies if (wallet := body.get("arbiter"))]


async def nothing_odd(named: Mapping[str, str]) -> Marks:
    """Where nobody is known, no name is like another."""
    return {peer: [] for peer in named}


async def nothing_to_add(_items: Sequence[dict[str, Any]]) -> None:
    """The same for records."""


def ways_out(body: Any) -> list[dict[str, str]]:
    """What leads outside in the texts of a record or message, as the local API shows it."""
    found = contacts.contacts_in(contacts.texts_of(body))
    return [{"kind": one.kind, "text": one.text} for one in found]


def _about(peer: str, name: str, known: Sequence[Known]) -> dict[str, Any]:
    roles = [one.role for one in known if one.peer_id == peer]
    marks = names.marks_of(peer, name, known)
    return {"roles": roles, "marks": [{"code": one.code, "words": one.words} for one in marks]}
