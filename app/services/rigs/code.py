"""The pairing code: where the owner's node is, who it is, and a secret that is good for one rig, once.

The rig never sends the secret. It dials the node that the code names, whose peer id the connection
itself proves, and answers with an HMAC under the secret over both peer ids: what one rig sends is worth
nothing to another, or to another node.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.market import canonical
from openstall.market.errors import InvalidRecord, Refused
from openstall.market.ids import public_key_of

PREFIX = "openstall:rig:"
LIFE_S = 600
SECRET_BYTES = 16
MAX_CHARS = 4096
MAX_ADDRS = 12
_CONTEXT = b"openstall-rig-pairing-v1\0"


class PairingCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rig's user pastes; `addrs` are multiaddresses of the node, `expires` is Unix seconds."""

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    node: Annotated[str, Meta(min_length=40, max_length=64)]
    addrs: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^/[!-~]+\Z")]],
        Meta(min_length=1, max_length=MAX_ADDRS),
    ]
    secret: Annotated[str, Meta(pattern=rf"^[0-9a-f]{{{2 * SECRET_BYTES}}}\Z")]
    expires: Annotated[int, Meta(ge=0, le=2**53 - 1)]

    def proof(self, rig: str) -> str:
        """What the rig of this peer id shows to the node."""
        return proof_of(self.secret, node=self.node, rig=rig)


def new_code(*, node: str, addrs: list[str], now: int) -> PairingCode:
    """A fresh code, good for ten minutes."""
    return PairingCode(
        node=node,
        addrs=[one.split("/p2p/")[0] for one in addrs if "/p2p-circuit" not in one][:MAX_ADDRS],
        secret=secrets.token_hex(SECRET_BYTES),
        expires=now + LIFE_S,
    )


def proof_of(secret: str, *, node: str, rig: str) -> str:
    """HMAC-SHA256 under the secret over both peer ids, as hex."""
    said = _CONTEXT + node.encode() + b"\0" + rig.encode()
    return hmac.new(bytes.fromhex(secret), said, hashlib.sha256).hexdigest()


def write_code(code: PairingCode) -> str:
    """`openstall:rig:…`, to be pasted on the rig."""
    content = canonical.encode(msgspec.to_builtins(code))
    return PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_code(text: str, *, now: int) -> PairingCode:
    """Check a code that a person pasted; white space in it is ignored.

    Raises:
        Refused: `bad_pairing_code` or `pairing_code_expired`.
    """
    text = "".join(text[: 2 * MAX_CHARS].split())
    if len(text) > MAX_CHARS or not text.startswith(PREFIX):
        raise _bad(f"it does not begin with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    try:
        content = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        code = msgspec.convert(canonical.decode(content, max_bytes=MAX_CHARS), PairingCode)
        public_key_of(code.node)
    except (binascii.Error, InvalidRecord, msgspec.ValidationError, ValueError) as error:
        raise _bad("it was cut or changed on the way") from error
    if now > code.expires:
        raise Refused(
            "pairing_code_expired",
            "This pairing code is older than ten minutes.",
            "Ask for a new one on the computer of your node: `openstall compute rigs pair`.",
        )
    return code


def _bad(why: str) -> Refused:
    return Refused(
        "bad_pairing_code", f"This is not a valid pairing code: {why}.", "Copy the whole of it again."
    )
