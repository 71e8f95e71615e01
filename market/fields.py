r"""The fields that records, orders and requests are made of, and the bodies that several of them share.

Patterns end with `\Z`, never `$`, which would let a newline pass at the end.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from openstall.market import text
from openstall.market.errors import InvalidRecord
from openstall.market.money import MAX_MICRO

DAY_S = 86_400
MODEL_ENDINGS = frozenset({".onnx", ".safetensors"})
TEXT_ENDINGS = frozenset({".md", ".txt", ".json", ".csv"})
"""What may be sold: no program opens these and runs what they hold."""

Short = Annotated[str, Meta(max_length=120)]
Text = Annotated[str, Meta(max_length=4000, extra=text.LINES)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Cid = Annotated[str, Meta(pattern=r"^b[a-z2-7]{50,70}\Z")]
Network = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,80}\Z")]
Address = Annotated[str, Meta(pattern=r"^0x(?!0{40}\Z)[0-9a-fA-F]{40}\Z")]
"""An EVM address in any case; the zero address is refused, because money sent there is gone."""
AddressOrNone = Annotated[str, Meta(pattern=r"^(0x(?!0{40}\Z)[0-9a-fA-F]{40})?\Z")]
Decimal = Annotated[str, Meta(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?\Z")]
Amount = Annotated[int, Meta(ge=0, le=MAX_MICRO)]
Price = Annotated[int, Meta(ge=1, le=MAX_MICRO)]
"""Never zero: the contracts refuse to hold nothing, and an order without money binds nobody."""
Size = Annotated[int, Meta(ge=0, le=2**50)]
DeliverTime = Annotated[int, Meta(ge=1, le=90 * DAY_S)]
Window = Annotated[int, Meta(ge=60, le=90 * DAY_S)]
"""A review or arbitration time, within the bounds of `OrderEscrow`."""
JobTime = Annotated[int, Meta(ge=1, le=7 * DAY_S)]
WithdrawDelay = Annotated[int, Meta(ge=60, le=30 * DAY_S)]
"""Within the bounds of `MeteredChannel`."""
Device = Annotated[str, Meta(pattern=r"^(cpu|cuda:[0-9]{1,2})\Z")]
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
WebAddress = Annotated[
    str,
    Meta(pattern=r"^https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?/[!-\"$-~]*\Z", max_length=300),
]
"""Plain ASCII, without a name, password or fragment. Whether it may be asked is for the reader to see."""
IpfsCid = Annotated[str, Meta(pattern=r"^(baf[a-z2-7]{56})?\Z")]
FileName = Annotated[
    str,
    Meta(
        pattern=r"^(?!(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z))[A-Za-z0-9][A-Za-z0-9._-]{0,119}(?<!\.)\Z"
    ),
]
"""A flat name that is the same file on every system: no device names of Windows, no dot at the end."""
Time = Annotated[int, Meta(ge=0, le=2**40)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=200)]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record says; each type has a strict schema."""


class FileEntry(Body, frozen=True, kw_only=True):
    """One file of a package; names are flat, without folders."""

    name: FileName
    size: Size
    sha256: Sha256


class BlobRef(Body, frozen=True, kw_only=True):
    """Encrypted or plain bytes that peers serve; `cid` is that of the chunk manifest."""

    cid: Cid
    size: Size
    sha256: Sha256


def check_parties(money: str, *wallets: str) -> None:
    """Check that no party is another party, nor the contract that holds the money; empty means nobody.

    Raises:
        InvalidRecord: `same_party` or `party_is_contract`.
    """
    named = [wallet.lower() for wallet in wallets if wallet]
    if len(set(named)) != len(named):
        raise InvalidRecord("same_party", "Two parties have one and the same wallet.")
    if money.lower() in named:
        raise InvalidRecord("party_is_contract", "A party cannot be the contract that holds the money.")


def check_package(names: list[str]) -> None:
    """Whether files may be sold together: one model of a format that holds no code, and texts beside it.

    Raises:
        InvalidRecord: `duplicate_file` or `unsafe_format`.
    """
    if has_twins(names):
        raise InvalidRecord("duplicate_file", "The package names one file twice.")
    endings = [name[name.rfind(".") :] for name in names]
    if not MODEL_ENDINGS.isdisjoint(endings) and MODEL_ENDINGS.union(TEXT_ENDINGS).issuperset(endings):
        return
    raise InvalidRecord(
        "unsafe_format",
        "The package holds a file that could run code, or no model.",
        "Take ONNX and safetensors models and texts only.",
    )


def has_twins(names: list[str]) -> bool:
    """Whether two file names are one and the same file on Windows or macOS."""
    return len({name.casefold() for name in names}) != len(names)


def body_as_dict(body: Body) -> dict[str, Any]:
    """The plain JSON object of a typed body, for `Record.body`."""
    plain: dict[str, Any] = msgspec.to_builtins(body)
    return plain
