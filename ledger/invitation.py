"""The invitation to a group: which chain, where its contracts are, and the peer that hosts it.

It holds no secret and no signature: whoever has it may join. What it protects is identity: the chain
id, the genesis hash and the host's peer id let the guest check that it reached the right group.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.ledger.chain import ChainParams
from openstall.market import canonical
from openstall.market.errors import InvalidRecord, Refused
from openstall.market.ids import public_key_of

PREFIX = "openstall:group:"
MAX_INVITATION_CHARS = 8192
_LATER = ("bond", "auction", "model_escrow", "contest")
"""Contracts that groups from before them do not have."""
_Address = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{40}\Z")]


class Invitation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a guest needs; `addrs` are multiaddresses of the host, hashes and addresses lower case.

    `bond` is left out by groups that were founded before there were bonds, and the last three by groups
    from before models could be asked for.
    """

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    # Groups draw their chain ids above all public ones, so that nothing signed here is valid on one of those.
    chain_id: Annotated[int, Meta(ge=2**32, le=2**53 - 1)]
    genesis_hash: Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
    host_peer: Annotated[str, Meta(min_length=40, max_length=64)]
    addrs: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^/[!-~]+\Z")]], Meta(max_length=16)
    ]
    credit: _Address
    escrow: _Address
    channel: _Address
    bond: _Address | None = None
    auction: _Address | None = None
    model_escrow: _Address | None = None
    contest: _Address | None = None

    def params(self) -> ChainParams:
        """The chain that the invitation leads to."""
        return ChainParams(
            chain_id=self.chain_id,
            genesis_hash=self.genesis_hash,
            name=self.name,
            credit=self.credit,
            escrow=self.escrow,
            channel=self.channel,
            bond=self.bond or "",
            auction=self.auction or "",
            model_escrow=self.model_escrow or "",
            contest=self.contest or "",
            kind="group",
        )


def invite(params: ChainParams, *, host_peer: str, addrs: list[str]) -> Invitation:
    """The invitation of a host to its chain."""
    return Invitation(
        name=params.name,
        chain_id=params.chain_id,
        genesis_hash=params.genesis_hash.lower(),
        host_peer=host_peer,
        addrs=addrs,
        credit=params.credit.lower(),
        escrow=params.escrow.lower(),
        channel=params.channel.lower(),
        bond=params.bond.lower() or None,
        auction=params.auction.lower() or None,
        model_escrow=params.model_escrow.lower() or None,
        contest=params.contest.lower() or None,
    )


def write_invitation(invitation: Invitation) -> str:
    """`openstall:group:…`, to be sent by any channel."""
    plain = msgspec.to_builtins(invitation)
    plain = {name: value for name, value in plain.items() if value is not None or name not in _LATER}
    content = canonical.encode(plain)
    return PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_invitation(text: str) -> Invitation:
    """Check an invitation that a person pasted; white space around and inside it is ignored.

    Raises:
        Refused: `bad_invitation`.
    """
    if len(text) > 2 * MAX_INVITATION_CHARS:
        raise _bad("it is too long")
    text = "".join(text.split())
    if len(text) > MAX_INVITATION_CHARS or not text.startswith(PREFIX):
        raise _bad(f"it does not begin with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    try:
        content = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        value = canonical.decode(content, max_bytes=MAX_INVITATION_CHARS)
        invitation = msgspec.convert(value, Invitation)
        public_key_of(invitation.host_peer)
    except (binascii.Error, ValueError) as error:
        raise _bad("it was cut or changed on the way") from error
    except (InvalidRecord, msgspec.ValidationError) as error:
        raise _bad("it was cut or changed on the way") from error
    named = [getattr(invitation, name) for name in ("credit", "escrow", "channel", *_LATER)]
    contracts = [address for address in named if address is not None]
    if len(set(contracts)) != len(contracts):
        raise _bad("two of its contracts are one")
    return invitation


def _bad(why: str) -> Refused:
    return Refused(
        "bad_invitation", f"This is not a valid invitation: {why}.", "Ask the host to send it again."
    )
