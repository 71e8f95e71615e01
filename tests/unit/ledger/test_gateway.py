from __future__ import annotations

import json

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from openstall.ledger import gateway
from openstall.ledger.transport import JsonValue, RpcRefusal
from openstall.ledger.wallet import Wallet
from openstall.market.errors import Refused

HASH, ADDRESS = "0x" + "ab" * 32, "0x" + "cd" * 20
ADMIN = [
    "anvil_setBalance", "anvil_impersonateAccount", "anvil_autoImpersonateAccount", "anvil_setCode",
    "anvil_setStorageAt", "anvil_setNonce", "anvil_reset", "anvil_dumpState", "anvil_loadState", "anvil_mine",
    "anvil_rollback", "anvil_reorg", "anvil_dropTransaction", "anvil_dropAllTransactions", "anvil_nodeInfo",
    "anvil_dealERC20", "anvil_setChainId", "anvil_setERC20Allowance", "hardhat_setBalance",
    "hardhat_impersonateAccount", "evm_snapshot", "evm_revert", "evm_mine", "evm_increaseTime",
    "evm_setNextBlockTimestamp", "evm_setAutomine", "evm_setAccountNonce", "eth_sendTransaction",
    "eth_sendUnsignedTransaction", "eth_sign", "eth_signTypedData_v4", "eth_signTransaction", "eth_accounts",
    "personal_unlockAccount", "wallet_getCapabilities", "debug_traceTransaction", "trace_block",
    "txpool_content", "txpool_status", "ots_getApiLevel", "admin_peers", "miner_start",
    "eth_newFilter", "eth_subscribe", "rpc_modules", "", "eth_call ", "ETH_CALL",
]  # fmt: skip


def never(method: str, params: list[JsonValue]) -> JsonValue:
    raise AssertionError(f"{method} {params} must not reach the chain")


@pytest.mark.parametrize("method", ADMIN)
def test_everything_but_the_list_is_refused_by_name(method: str) -> None:
    with pytest.raises(Refused) as error:
        gateway.check_call(method, [])
    assert error.value.code == "method_refused"


CALL = {"to": ADDRESS, "data": "0x1234"}
GOOD = [
    ("eth_chainId", []),
    ("eth_call", [CALL, "latest"]),
    ("eth_call", [CALL]),
    ("eth_getBalance", [ADDRESS, "latest"]),
    ("eth_getBlockByNumber", ["0x10", False]),
    (
        "eth_getLogs",
        [{"address": ADDRESS, "topics": [HASH, None, [HASH]], "fromBlock": "0x0", "toBlock": "0x1387"}],
    ),
    ("eth_feeHistory", ["0x5", "latest", [50]]),
    ("eth_getStorageAt", [ADDRESS, "0x0", "latest"]),
]
BAD = [
    ("eth_chainId", [1]),
    ("eth_chainId", {}),
    ("eth_call", [CALL, "latest", {ADDRESS: {"balance": "0x1"}}]),
    ("eth_call", [CALL, "latest", {}, {"time": "0x0"}]),
    ("eth_call", [CALL, {"blockHash": HASH}]),
    ("eth_call", [CALL | {"gas": "0xffffffffff"}, "latest"]),
    ("eth_call", [CALL | {"accessList": []}, "latest"]),
    ("eth_call", [CALL | {"data": "0x" + "00" * (gateway.MAX_CALL_BYTES + 1)}, "latest"]),
    ("eth_call", [CALL | {"to": "0x12"}, "latest"]),
    ("eth_getBlockByNumber", ["0x10", True]),
    ("eth_getBlockByNumber", ["0x" + "f" * 17, False]),
    ("eth_getLogs", [{}]),
    ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
    ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0x1388"}]),
    ("eth_getLogs", [{"fromBlock": "0x5", "toBlock": "0x1"}]),
    ("eth_getLogs", [{"blockHash": HASH}]),
    ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0x1", "address": [ADDRESS] * 5}]),
    ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0x1", "topics": [None] * 5}]),
    ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0x1", "topics": [[HASH] * 17]}]),
    ("eth_feeHistory", ["0x400", "latest", []]),
    ("eth_feeHistory", ["0x4", "latest", [True]]),
    ("eth_getTransactionReceipt", ["0x12"]),
]


@pytest.mark.parametrize(("method", "params"), GOOD)
def test_reads_pass(method: str, params: list[JsonValue]) -> None:
    assert gateway.check_call(method, params) == params


@pytest.mark.parametrize(("method", "params"), BAD)
def test_bad_parameters_are_refused(method: str, params: JsonValue) -> None:
    with pytest.raises(Refused) as error:
        gateway.check_call(method, params)
    assert error.value.code == "bad_params"


def sign(**change: object) -> str:
    tx = {
        "type": 2, "chainId": 7, "nonce": 3, "to": bytes(20), "value": 0, "data": b"", "gas": 50_000,
        "maxFeePerGas": 0, "maxPriorityFeePerGas": 0,
    } | change  # fmt: skip
    return "0x" + Wallet(b"\x03" * 32).sign_transaction(tx).raw.hex()


def test_a_signed_transaction_is_taken_apart() -> None:
    tx = gateway.read_raw_tx([sign()], chain_id=7)
    assert (tx.sender, tx.nonce, tx.gas) == (Wallet(b"\x03" * 32).address, 3, 50_000)


def test_transactions_that_are_refused() -> None:
    legacy = Account.sign_transaction(
        {"nonce": 0, "to": bytes(20), "value": 0, "gas": 21_000, "gasPrice": 0}, b"\x03" * 32
    ).raw_transaction.hex()
    for params, code in [
        ([sign(chainId=8)], "wrong_chain"),
        ([sign(gas=gateway.MAX_TX_GAS + 1)], "too_much_gas"),
        (["0x" + legacy], "bad_transaction"),
        (["0x03" + sign()[4:]], "bad_transaction"),
        (["0x02"], "bad_transaction"),
        (["0x02c0"], "bad_transaction"),
        ([sign()[:-2]], "bad_transaction"),
        ([sign(), sign()], "bad_transaction"),
        (["0x02" + "00" * gateway.MAX_RAW_TX_BYTES], "bad_transaction"),
        ([], "bad_transaction"),
        ({}, "bad_transaction"),
    ]:
        with pytest.raises(Refused) as error:
            gateway.read_raw_tx(params, chain_id=7)
        assert error.value.code == code


@given(st.binary(max_size=200))
def test_any_bytes_as_a_transaction_are_refused_or_read(raw: bytes) -> None:
    with pytest.raises(Refused):
        gateway.read_raw_tx(["0x02" + raw.hex()], chain_id=7)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'[{"method":"eth_chainId","params":[]}]',
        b"",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"method":"' + b"x" * 200_000 + b'"}',
        b'{"method": 5, "params": 6}',
        b'{"id": 1, "method":"anvil_reset","params":[]}',
        b'{"id": ' + b"9" * 5000 + b"}",
    ],
)
def test_hostile_requests_get_an_error_and_reach_nothing(body: bytes) -> None:
    def handle(method: str, params: list[JsonValue]) -> JsonValue:
        gateway.check_call(method, params)
        return never(method, params)

    answer = json.loads(gateway.answer(handle, body))
    assert "result" not in answer
    assert answer["error"]["message"]


def test_a_refusal_of_the_chain_keeps_its_data() -> None:
    def handle(_method: str, _params: list[JsonValue]) -> JsonValue:
        raise RpcRefusal("reverted", rpc_code=3, data="0x1234")

    answer = json.loads(gateway.answer(handle, b'{"id":9,"method":"eth_call","params":[]}'))
    assert answer["id"] == 9
    assert answer["error"]["data"] == "0x1234"
