"""Who is shut out of this node, by its owner or by the node itself."""

from __future__ import annotations

from typing import Any

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.names import Names
from openstall.app.services.network import NetworkService
from openstall.market.errors import NotFound
from openstall.p2p.bans import Ban, check_target

MOST_FOR_S = 10 * 365 * 86_400


async def banned(network: NetworkService, catalogue: Catalogue, names: Names) -> dict[str, Any]:
    """The list, the newest first, and what peers did lately that cost them points; each with its name."""
    bouncer = network.host.bouncer
    items = [ban_dict(ban) for ban in bouncer.list.all()]
    recent: list[dict[str, Any]] = [
        {"peer_id": one.peer_id, "reason": one.reason, "points": one.points, "at": one.at}
        for one in reversed(bouncer.recent)
    ]
    peers = [item["what"] for item in items if "/" not in item["what"]]
    called = await catalogue.peer_names(list({*peers, *(one["peer_id"] for one in recent)}))
    for lines, key in ((items, "what"), (recent, "peer_id")):
        for line in lines:
            line["name"] = called.get(line[key], "")
        await names.dress_named(lines, peer=key)
    refused = network.host.entrance.refused
    return {"items": items, "total": len(items), "recent": recent, "refused_connections": refused}


async def ban(network: NetworkService, what: str, *, reason: str, for_s: int) -> dict[str, Any]:
    """Shut a peer or a network of addresses out, for good or for a time, and hang up on it."""
    host = network.host
    entry = host.bouncer.list.shut_out(what, by="you", reason=reason, for_s=for_s)
    for peer in host.peers():
        if peer.peer_id == entry.what or host.bouncer.list.holds_address(peer.addr) == entry:
            await host.disconnect(peer.peer_id)
    await host.save()
    network.bans_changed()
    return ban_dict(entry)


async def unban(network: NetworkService, what: str) -> dict[str, Any]:
    """Let somebody in again.

    Raises:
        NotFound: nobody is shut out under that name.
    """
    host = network.host
    if not host.bouncer.readmit(what):
        raise NotFound("not_banned", "That is not shut out here.", "`openstall peers banned` shows who is.")
    await host.save()
    network.bans_changed()
    return {"what": check_target(what)}


def ban_dict(entry: Ban) -> dict[str, Any]:
    """A ban as the local API shows it."""
    return {
        "what": entry.what,
        "by": entry.by,
        "reason": entry.reason,
        "since": entry.since,
        "until": entry.until or None,
        "times": entry.times,
    }
