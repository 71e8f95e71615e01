"""The fall-back where anvil is missing: the same gateway over py-evm, in this process and only in memory.

Slow (tens of transactions a second) and gone when the node ends; the desktop says so in a banner.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from openstall.ledger import gateway
from openstall.ledger.chain import ChainParams
from openstall.ledger.deployment import deploy
from openstall.ledger.gateway import RawTx
from openstall.ledger.late_imports import mining_chain
from openstall.ledger.transport import JsonValue, RpcRefusal
from openstall.market.errors import ChainError, Conflict, Refused

if TYPE_CHECKING:
    from eth.abc import BlockHeaderAPI
    from eth.chains.base import MiningChain

BLOCK_GAS_LIMIT = 30_000_000


class MemoryHost:
    """Hosts one group chain in memory; interface of `GroupHost`. Thread-safe.

    Args:
        clock: Unix seconds; block times follow it and strictly grow.
    """

    durable = False
    exists = False

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._chain: MiningChain | None = None
        self._params: ChainParams | None = None
        self._chain_id = 0
        self._sent: dict[str, dict[str, JsonValue]] = {}
        self._receipts: dict[str, dict[str, JsonValue]] = {}
        self._blocks: list[dict[str, JsonValue]] = []
        self._logs: list[dict[str, JsonValue]] = []
        self._reads: dict[str, Callable[..., JsonValue]] = {
            "eth_blockNumber": lambda: self._blocks[-1]["number"],
            "eth_chainId": lambda: hex(self._chain_id),
            "eth_gasPrice": lambda: "0x0",
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "net_version": lambda: str(self._chain_id),
            "eth_call": self._call,
            "eth_getBalance": lambda address, _tag: hex(self._state().get_balance(_raw(address))),
            "eth_getBlockByHash": lambda found, _full: self._by_hash(found),
            "eth_getBlockByNumber": lambda tag, _full: self._by_number(tag),
            "eth_getCode": lambda address, _tag: "0x" + self._state().get_code(_raw(address)).hex(),
            "eth_getLogs": self._find_logs,
            "eth_getTransactionByHash": lambda found: self._sent.get(found.lower()),
            "eth_getTransactionCount": lambda address, _tag: hex(self._state().get_nonce(_raw(address))),
            "eth_getTransactionReceipt": lambda found: self._receipts.get(found.lower()),
        }

    @property
    def params(self) -> ChainParams:
        """The chain; it must have been created.

        Raises:
            ChainError: `chain_stopped`.
        """
        if self._params is None:
            raise _stopped()
        return self._params

    def create(self, name: str) -> ChainParams:
        """Make a new chain with our contracts (about 3 s: most of it importing py-evm).

        Raises:
            Conflict: there is one already.
        """
        if self._chain is not None:
            raise Conflict(
                "group_exists", "This home hosts a group already.", "Use another home for another group."
            )
        from eth_typing import BlockNumber

        self._chain_id = secrets.randbelow(2**48) + 2**32
        self._chain = _new_chain(self._chain_id, int(self._clock()))
        self._note_block(self._chain.get_canonical_block_by_number(BlockNumber(0)), [])
        found = deploy(self.handle, chain_id=self._chain_id)
        self._params = ChainParams(
            chain_id=self._chain_id,
            genesis_hash=str(self._blocks[0]["hash"]),
            name=name,
            credit=found.credit,
            escrow=found.escrow,
            channel=found.channel,
            bond=found.bond,
            auction=found.auction,
            model_escrow=found.model_escrow,
            contest=found.contest,
            kind="group",
        )
        return self._params

    def start(self) -> ChainParams:
        """There is never a saved chain to start.

        Raises:
            ChainError: always, `chain_not_saved`.
        """
        raise ChainError(
            "chain_not_saved",
            "The group's chain was only in memory and ended with the node.",
            "Install anvil (python3 dev.py does), then create the group again: it will be saved.",
        )

    def stop(self) -> None:
        """Forget everything."""
        with self._lock:
            self._chain, self._params = None, None

    def handle(self, method: str, params: list[JsonValue]) -> JsonValue:
        """The gateway: answer one call of a member.

        Raises:
            Refused: a method or parameters that are not on the list, or not possible in memory.
            RpcRefusal: the chain itself refuses.
        """
        if method == "eth_sendRawTransaction":
            tx = gateway.read_raw_tx(params, chain_id=self._chain_id)
            with self._lock:
                return self._send(tx)
        checked = gateway.check_call(method, params)
        if method not in self._reads:
            raise Refused("method_refused", f"A chain in memory does not offer “{method}”.")
        with self._lock:
            if self._chain is None:
                raise _stopped()
            if method == "eth_call":
                checked = checked[:1]
            return gateway.check_result(method, self._reads[method](*checked))

    def _evm(self) -> MiningChain:
        if self._chain is None:
            raise _stopped()
        return self._chain

    def _state(self) -> Any:
        return self._evm().get_vm().state

    def _next_header(self) -> BlockHeaderAPI:
        pending = self._evm().get_block().header
        parent_at = int(str(self._blocks[-1]["timestamp"]), 16)
        # py-evm would let the limit sink with every block that is nearly empty, which here is every one.
        return pending.copy(timestamp=max(int(self._clock()), parent_at + 1), gas_limit=BLOCK_GAS_LIMIT)

    def _send(self, tx: RawTx) -> str:
        from eth.exceptions import PyEVMError
        from eth_utils.exceptions import ValidationError

        chain, raw = self._evm(), bytes.fromhex(tx.raw[2:])
        if tx.tx_hash in self._sent:
            return tx.tx_hash
        expected = self._state().get_nonce(_raw(tx.sender))
        if tx.nonce != expected:
            side = "low" if tx.nonce < expected else "high"
            fault = f"the nonce is too {side}: {tx.nonce} instead of {expected}"
            raise RpcRefusal(fault, rpc_code=-32003)
        chain.header = self._next_header()
        try:
            chain.apply_transaction(chain.get_vm().get_transaction_builder().decode(raw))
        except (PyEVMError, ValidationError) as error:
            raise RpcRefusal(str(error), rpc_code=-32003) from error
        block = chain.mine_block(blob_gas_used=0)
        self._note_block(block, [tx])
        return tx.tx_hash

    def _note_block(self, block: Any, txs: list[RawTx]) -> None:
        number, block_hash = hex(block.number), "0x" + block.hash.hex()
        self._blocks.append(
            {
                "number": number,
                "hash": block_hash,
                "parentHash": "0x" + block.header.parent_hash.hex(),
                "timestamp": hex(block.header.timestamp),
                "transactions": [tx.tx_hash for tx in txs],
            }
        )
        place = {"blockNumber": number, "blockHash": block_hash}
        receipts = block.get_receipts(self._evm().chaindb) if txs else ()
        for tx, receipt, inner in zip(txs, receipts, block.transactions, strict=True):
            here = {**place, "transactionHash": tx.tx_hash, "transactionIndex": "0x0"}
            logs = [{**here, "logIndex": hex(index), **_log(log)} for index, log in enumerate(receipt.logs)]
            created = None if inner.to else _created(tx)
            self._sent[tx.tx_hash] = {**place, "hash": tx.tx_hash, "from": tx.sender, "nonce": hex(tx.nonce)}
            self._receipts[tx.tx_hash] = {
                **here,
                "status": "0x1" if receipt.state_root == b"\x01" else "0x0",
                "gasUsed": hex(receipt.gas_used),
                "effectiveGasPrice": "0x0",
                "contractAddress": created,
                "logs": logs,
            }
            self._logs += logs

    def _by_number(self, tag: str) -> JsonValue:
        if tag == "earliest":
            return self._blocks[0]
        if not tag.startswith("0x"):
            return self._blocks[-1]
        number = int(tag, 16)
        return self._blocks[number] if number < len(self._blocks) else None

    def _by_hash(self, found: str) -> JsonValue:
        return next((block for block in self._blocks if block["hash"] == found.lower()), None)

    def _call(self, call: dict[str, JsonValue]) -> str:
        from eth_typing import Address

        vm = self._evm().get_vm(at_header=self._next_header())
        sender = Address(_raw(str(call.get("from") or "0x" + "00" * 20)))
        to = Address(_raw(str(call.get("to") or "0x" + "00" * 20)))
        done = vm.execute_bytecode(
            origin=sender,
            gas_price=0,
            gas=int(call.get("gas", hex(gateway.MAX_CALL_GAS)), 16),
            to=to,
            sender=sender,
            value=int(call.get("value", "0x0"), 16),
            data=_raw(str(call.get("data") or call.get("input") or "0x")),
            code=vm.state.get_code(to),
        )
        if done.is_error:
            raise RpcRefusal("execution reverted", rpc_code=3, data="0x" + done.output.hex())
        return "0x" + done.output.hex()

    def _find_logs(self, query: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
        wanted = query.get("address", [])
        addresses = {entry.lower() for entry in (wanted if isinstance(wanted, list) else [wanted])}
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        return [
            log
            for log in self._logs
            if first <= int(log["blockNumber"], 16) <= last
            and (not addresses or log["address"] in addresses)
            and _topics_match(log["topics"], query.get("topics", []))
        ]


def _new_chain(chain_id: int, now: int) -> MiningChain:
    base = mining_chain()
    from eth.constants import POST_MERGE_DIFFICULTY, POST_MERGE_MIX_HASH, POST_MERGE_NONCE
    from eth.db.atomic import AtomicDB
    from eth.vm.forks.cancun import CancunVM

    chain_type = base.configure(__name__="GroupChain", vm_configuration=((0, CancunVM),), chain_id=chain_id)
    genesis: dict[str, Any] = {
        "coinbase": b"\0" * 20,
        "difficulty": POST_MERGE_DIFFICULTY,
        "extra_data": secrets.token_bytes(32),
        "gas_limit": BLOCK_GAS_LIMIT,
        "mix_hash": POST_MERGE_MIX_HASH,
        "nonce": POST_MERGE_NONCE,
        "timestamp": now,
        "base_fee_per_gas": 0,
    }
    chain: Any = chain_type.from_genesis(AtomicDB(), genesis, {})
    return cast("MiningChain", chain)


def _created(tx: RawTx) -> str:
    import rlp
    from eth_hash.auto import keccak

    return "0x" + keccak(rlp.encode([_raw(tx.sender), tx.nonce]))[12:].hex()


def _log(log: Any) -> dict[str, JsonValue]:
    topics = ["0x" + topic.to_bytes(32, "big").hex() for topic in log.topics]
    return {"address": "0x" + log.address.hex(), "topics": topics, "data": "0x" + log.data.hex()}


def _topics_match(topics: list[str], wanted: list[JsonValue]) -> bool:
    if len(wanted) > len(topics):
        return False
    for topic, entry in zip(topics, wanted, strict=False):
        choices = entry if isinstance(entry, list) else [entry]
        if entry is not None and topic not in {choice.lower() for choice in choices}:
            return False
    return True


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _stopped() -> ChainError:
    return ChainError(
        "chain_stopped", "The group's chain is not running.", "Start the node that hosts the group."
    )
