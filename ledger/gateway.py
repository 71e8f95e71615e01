"""What a member of a group may ask of the host's chain: reads, and sending signed transactions.

An allow-list with a schema per method. Everything else is refused by name, above all the methods by
which anvil lets its owner mint, impersonate and rewind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from openstall.ledger.late_imports import eth_account
from openstall.ledger.transport import JsonValue, RpcRefusal
from openstall.market.errors import ChainError, OpenstallError, Refused

MAX_REQUEST_BYTES = 192 * 1024
MAX_BRACKETS = 100
"""Addresses and hexadecimal hold none, so no call needs more."""
MAX_RAW_TX_BYTES = 64 * 1024
MAX_CALL_BYTES = 64 * 1024
MAX_TX_GAS = 8_000_000
MAX_CALL_GAS = 30_000_000
MAX_LOG_RANGE = 5_000
MAX_LOGS = 20_000
_TAG = re.compile(r"latest|pending|earliest|finalized|safe|0x(0|[1-9a-f][0-9a-f]{0,15})")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")
_CALL_FIELDS = frozenset({"from", "to", "data", "input", "gas", "value"})
_LOG_FIELDS = frozenset({"address", "topics", "fromBlock", "toBlock"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTx:
    """A signed EIP-1559 transaction that was taken apart and checked."""

    raw: str
    tx_hash: str
    sender: str
    nonce: int
    gas: int


def check_call(method: object, params: object) -> list[JsonValue]:
    """The parameters of a permitted read, in canonical form.

    Raises:
        Refused: `method_refused` for a method that is not on the list, `bad_params` for the rest.
    """
    if not isinstance(method, str) or method not in _CHECKS:
        shown = str(method)[:60]
        raise Refused("method_refused", f"The group's host does not offer “{shown}”.")
    if not isinstance(params, list) or not _CHECKS[method](params):
        raise Refused("bad_params", f"The parameters of “{method}” are not acceptable.")
    return params


def read_raw_tx(params: object, *, chain_id: int) -> RawTx:
    """Take a signed transaction apart.

    Only EIP-1559 transactions for this chain pass: older forms may lack the chain id and could be
    replayed, newer ones carry blobs or delegate accounts, which no part of the market needs.

    Raises:
        Refused: not such a transaction, too large, or asking for too much gas.
    """
    import rlp
    from eth_hash.auto import keccak
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    ok = isinstance(params, list) and len(params) == 1 and _is_data(params[0], MAX_RAW_TX_BYTES)
    text = params[0] if ok and isinstance(params, list) else ""
    raw = bytes.fromhex(text[2:])
    if not raw.startswith(b"\x02"):
        raise Refused("bad_transaction", "Only signed EIP-1559 transactions are accepted.")
    try:
        fields = rlp.decode(raw[1:])
        chain, nonce, gas = (int.from_bytes(fields[place], "big") for place in (0, 1, 4))
        sender = str(eth_account().recover_transaction(raw))
    except (
        rlp.exceptions.RLPException, BadSignature, ValidationError, ValueError, TypeError, IndexError,
    ) as error:  # fmt: skip
        raise Refused("bad_transaction", "The transaction cannot be decoded.") from error
    if chain != chain_id:
        raise Refused("wrong_chain", "The transaction was signed for another chain.")
    if gas > MAX_TX_GAS:
        raise Refused("too_much_gas", f"A transaction may ask for {MAX_TX_GAS} gas at most.")
    return RawTx(raw="0x" + raw.hex(), tx_hash="0x" + keccak(raw).hex(), sender=sender, nonce=nonce, gas=gas)


def check_result(method: str, result: JsonValue) -> JsonValue:
    """Hold back an answer that would be too large to send.

    Raises:
        Refused: `too_many_logs`.
    """
    if method == "eth_getLogs" and isinstance(result, list) and len(result) > MAX_LOGS:
        raise Refused(
            "too_many_logs", "The query matches too many events.", "Ask for fewer blocks at a time."
        )
    return result


def answer(handle: Callable[[str, list[JsonValue]], JsonValue], body: bytes) -> bytes:
    """One JSON-RPC request as bytes to its answer as bytes; never raises for what the caller sent.

    Batches are refused: each call is counted by the caller's rate limit.
    """
    number: JsonValue = None
    try:
        if len(body) > MAX_REQUEST_BYTES:
            raise Refused("too_large", "The request is too large.")
        if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
            raise Refused("too_deep", "The request is nested too deeply.")
        request = json.loads(body)
        if not isinstance(request, dict):
            raise Refused("no_batches", "One call at a time.")
        asked = request.get("id")
        number = asked if isinstance(asked, int | str) and len(str(asked)) <= 32 else None
        result = handle(request.get("method", ""), request.get("params", []))
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
    except RpcRefusal as error:
        fault = {"code": error.rpc_code or -32000, "message": error.message, "data": error.data}
    except OpenstallError as error:
        fault = {"code": -32001 if isinstance(error, ChainError) else -32601, "message": error.message}
    except (ValueError, RecursionError):
        fault = {"code": -32700, "message": "The request is not JSON."}
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": fault}).encode()


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and len(value) <= 80 and pattern.fullmatch(value) is not None


def _is_data(value: object, max_bytes: int) -> bool:
    return isinstance(value, str) and len(value) <= 2 + 2 * max_bytes and _DATA.fullmatch(value) is not None


def _nothing(params: list[JsonValue]) -> bool:
    return not params


def _address_at(params: list[JsonValue]) -> bool:
    return len(params) == 2 and _is(_ADDRESS, params[0]) and _is(_TAG, params[1])


def _slot_at(params: list[JsonValue]) -> bool:
    return (
        len(params) == 3
        and _is(_ADDRESS, params[0])
        and (_is(_QUANTITY, params[1]) or _is(_HASH, params[1]))
        and _is(_TAG, params[2])
    )


def _one_hash(params: list[JsonValue]) -> bool:
    return len(params) == 1 and _is(_HASH, params[0])


def _block_by_number(params: list[JsonValue]) -> bool:
    return len(params) == 2 and _is(_TAG, params[0]) and params[1] is False


def _block_by_hash(params: list[JsonValue]) -> bool:
    return len(params) == 2 and _is(_HASH, params[0]) and params[1] is False


def _call(params: list[JsonValue]) -> bool:
    """A call object and a block; the overrides that anvil would take as further parameters are refused."""
    if len(params) not in (1, 2) or not isinstance(params[0], dict):
        return False
    call = params[0]
    return (
        call.keys() <= _CALL_FIELDS
        and all(_is(_ADDRESS, call[name]) for name in ("from", "to") if name in call)
        and all(_is_data(call[name], MAX_CALL_BYTES) for name in ("data", "input") if name in call)
        and all(_is(_QUANTITY, call[name]) for name in ("gas", "value") if name in call)
        and int(call.get("gas", "0x0"), 16) <= MAX_CALL_GAS
        and (len(params) == 1 or _is(_TAG, params[1]))
    )


def _logs(params: list[JsonValue]) -> bool:
    if len(params) != 1 or not isinstance(params[0], dict) or not params[0].keys() <= _LOG_FIELDS:
        return False
    query = params[0]
    first, last = query.get("fromBlock"), query.get("toBlock")
    if not (isinstance(first, str) and isinstance(last, str)):
        return False
    if not (_is(_QUANTITY, first) and _is(_QUANTITY, last)):
        return False
    if not 0 <= int(last, 16) - int(first, 16) < MAX_LOG_RANGE:
        return False
    addresses = query.get("address", [])
    addresses = addresses if isinstance(addresses, list) else [addresses]
    topics = query.get("topics", [])
    return (
        len(addresses) <= 4
        and all(_is(_ADDRESS, entry) for entry in addresses)
        and isinstance(topics, list)
        and len(topics) <= 4
        and all(_topic(entry) for entry in topics)
    )


def _topic(entry: JsonValue) -> bool:
    if isinstance(entry, list):
        return len(entry) <= 16 and all(_is(_HASH, item) for item in entry)
    return entry is None or _is(_HASH, entry)


def _fee_history(params: list[JsonValue]) -> bool:
    return (
        len(params) == 3
        and _is(_QUANTITY, params[0])
        and int(params[0], 16) <= 64
        and _is(_TAG, params[1])
        and isinstance(params[2], list)
        and len(params[2]) <= 4
        and all(type(entry) in (int, float) and 0 <= entry <= 100 for entry in params[2])
    )


_CHECKS: dict[str, Callable[[list[JsonValue]], bool]] = {
    "eth_blockNumber": _nothing,
    "eth_call": _call,
    "eth_chainId": _nothing,
    "eth_estimateGas": _call,
    "eth_feeHistory": _fee_history,
    "eth_gasPrice": _nothing,
    "eth_getBalance": _address_at,
    "eth_getBlockByHash": _block_by_hash,
    "eth_getBlockByNumber": _block_by_number,
    "eth_getCode": _address_at,
    "eth_getLogs": _logs,
    "eth_getStorageAt": _slot_at,
    "eth_getTransactionByHash": _one_hash,
    "eth_getTransactionCount": _address_at,
    "eth_getTransactionReceipt": _one_hash,
    "eth_maxPriorityFeePerGas": _nothing,
    "net_version": _nothing,
}
