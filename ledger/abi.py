"""Calls, results, events and errors of one contract, between Python values and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from openstall.ledger.contracts.compiled import artifact
from openstall.market.errors import ChainError


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A decoded log: the event's name and its arguments by name; addresses are lower-case `0x…`."""

    name: str
    args: dict[str, Any]
    address: str
    tx_hash: str
    block_number: int
    log_index: int


class Codec:
    """Encodes and decodes for the ABI of one committed contract. Immutable after construction."""

    def __init__(self, abi: Sequence[dict[str, Any]]) -> None:
        self._functions = {entry["name"]: entry for entry in abi if entry["type"] == "function"}
        self._errors = {keccak(_signature(e).encode())[:4]: e["name"] for e in abi if e["type"] == "error"}
        self._events = {keccak(_signature(e).encode()): e for e in abi if e["type"] == "event"}
        self._topics = {entry["name"]: "0x" + topic.hex() for topic, entry in self._events.items()}

    def call_data(self, function: str, *args: Any) -> bytes:
        """Selector and arguments."""
        entry = self._functions[function]
        types = [_type_of(item) for item in entry["inputs"]]
        return bytes(keccak(_signature(entry).encode())[:4]) + bytes(encode(types, args))

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """The values that a view returned.

        Raises:
            ChainError: not what the contract returns (usually: no such contract at the address).
        """
        types = [_type_of(item) for item in self._functions[function]["outputs"]]
        return _decode(types, data)

    def outputs(self, function: str) -> tuple[str, ...]:
        """The names of a view's values, in order."""
        return tuple(item["name"] for item in self._functions[function]["outputs"])

    def members(self, function: str) -> tuple[str, ...]:
        """The names of the members of the struct that a view returns, in order."""
        return tuple(item["name"] for item in self._functions[function]["outputs"][0]["components"])

    def topic(self, event: str) -> str:
        """The first topic of an event, as `0x…`."""
        return str(self._topics[event])

    def event(self, log: dict[str, Any]) -> Event | None:
        """Decode a log of this contract; None for an event that is not in the ABI.

        Raises:
            ChainError: the log does not fit the event.
        """
        topics = [_unhex(topic) for topic in log["topics"]]
        entry = self._events.get(topics[0]) if topics else None
        if entry is None:
            return None
        indexed = [item for item in entry["inputs"] if item["indexed"]]
        plain = [item for item in entry["inputs"] if not item["indexed"]]
        if len(indexed) != len(topics) - 1:
            raise ChainError("bad_answer", "The chain gave a log with the wrong number of topics.")
        pairs = [(i["name"], _decode([i["type"]], t)[0]) for i, t in zip(indexed, topics[1:], strict=True)]
        values = _decode([_type_of(item) for item in plain], _unhex(log["data"]))
        pairs += [(item["name"], value) for item, value in zip(plain, values, strict=True)]
        return Event(
            name=entry["name"],
            args=dict(pairs),
            address=str(log["address"]).lower(),
            tx_hash=str(log["transactionHash"]),
            block_number=int(log["blockNumber"], 16),
            log_index=int(log["logIndex"], 16),
        )

    def error_name(self, data: str) -> str:
        """The name of the contract's error in revert data, or empty."""
        return str(self._errors.get(_unhex(data)[:4], ""))


@cache
def codec(name: str) -> Codec:
    """The codec of a committed contract."""
    return Codec(artifact(name).abi)


def address_topic(address: str) -> str:
    """An address as an event topic."""
    return "0x" + address.lower().removeprefix("0x").rjust(64, "0")


def _type_of(item: dict[str, Any]) -> str:
    kind = str(item["type"])
    if kind.startswith("tuple"):
        inner = ",".join(_type_of(part) for part in item["components"])
        return f"({inner}){kind.removeprefix('tuple')}"
    return kind


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(_type_of(item) for item in entry['inputs'])})"


def _decode(types: list[str], data: bytes) -> tuple[Any, ...]:
    try:
        return tuple(decode(types, data))
    except (DecodingError, ValueError, OverflowError) as error:
        raise ChainError(
            "not_our_contract",
            "The address does not hold the contract we expect.",
            "Check the contract addresses of this chain.",
        ) from error


def _unhex(text: object) -> bytes:
    try:
        return bytes.fromhex(str(text).removeprefix("0x"))
    except ValueError as error:
        raise ChainError("bad_answer", "The chain's answer is not hexadecimal.") from error
