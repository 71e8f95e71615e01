"""Cases of the campaign: the host's chain, and the contracts in which the money of the honest lies."""

from __future__ import annotations

import json
import os
from typing import Any

import trio
from bad_peer import Bad, Guest, NotRefused, case

from openstall.app.services.gateway import MemberTransport
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.channel import ChannelClient
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import EscrowClient, escrow_key
from openstall.ledger.invitation import read_invitation
from openstall.ledger.transactions import build_and_sign
from openstall.ledger.wallet import Wallet
from openstall.market.errors import OpenstallError

CHAIN = "/openstall/chain/1"
FORBIDDEN = (
    "anvil_setBalance", "anvil_impersonateAccount", "anvil_mine", "anvil_setCode", "anvil_reset",
    "anvil_dumpState", "evm_increaseTime", "evm_mine", "evm_snapshot", "evm_revert", "hardhat_setBalance",
    "hardhat_setStorageAt", "eth_sendTransaction", "eth_sign", "eth_signTransaction", "eth_accounts",
    "personal_unlockAccount", "debug_traceTransaction", "txpool_content", "miner_start", "admin_peers",
    "eth_newFilter", "nothing",
)  # fmt: skip
RAW: tuple[list[Any], ...] = (
    [], ["0x"], ["0x02"], ["0x02" + "00" * 100], ["0xf8" + "ab" * 100], ["x"], [5], [{}],
)  # fmt: skip


@case()
async def forbidden_calls_of_the_chain(bad: Bad) -> None:
    """Minting, impersonating, rewinding, batches, rubbish: the host answers none, others host no chain."""
    calls: list[Any] = [{"jsonrpc": "2.0", "id": 1, "method": one, "params": []} for one in FORBIDDEN]
    calls += [{"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": p} for p in RAW]
    calls += [
        [{"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}] * 50,
        {"id": 1, "method": "eth_getLogs", "params": [{"fromBlock": "0x0", "toBlock": "0xffffff"}]},
        {"id": 1, "method": "eth_call", "params": [{"to": "x"}, "latest"]},
        {"id": 1, "method": "eth_getBalance", "params": ["0x" + "a" * 40, "latest", {}, {}]},
    ]
    async with bad.guest() as guest:
        for one in calls:
            raw = json.dumps(one).encode()
            if bad.target.name != "provider":
                await guest.refused(CHAIN, raw, "not_host")
                continue
            answer = json.loads(await guest.ask(CHAIN, raw))
            bad.told[str(answer.get("error", {}).get("code", "result"))] += 1
            if "result" in answer or "error" not in answer:
                raise NotRefused(f"the chain answers {str(one)[:200]}: {str(answer)[:200]}")


@case(against=["provider"], quick=False)
async def hands_in_anothers_escrow(bad: Bad) -> None:
    """A member without a part in them does every step on the honest orders, on the real chain: each fails."""
    wallet = Wallet(os.urandom(32))
    async with bad.guest() as guest:
        chain = chain_of(bad, guest)
        await trio.to_thread.run_sync(do, chain, wallet, CreditClient(chain).claim())
        for order in bad.live["deals"][-3:]:
            for request in steps(chain, wallet, order):
                ok = await trio.to_thread.run_sync(lands, chain, wallet, request)
                bad.told["landed" if ok else "refused by the contract"] += 1
                if ok:
                    raise NotRefused(f"a stranger could “{request.what}” in order {order['order_id']}")


def chain_of(bad: Bad, guest: Guest) -> Chain:
    """The group's chain, over the host's gateway."""
    params = read_invitation(bad.settings["invitation"]).params()
    token = trio.lowlevel.current_trio_token()
    return Chain(
        params, MemberTransport(find_host=lambda: guest.host, peer_id=guest.target.peer_id, token=token)
    )


def steps(chain: Chain, wallet: Wallet, order: dict[str, Any]) -> list[TxRequest]:
    """All that the contracts offer, about one order of others."""
    if order["kind"] == "sale":
        escrow = EscrowClient(chain)
        key = escrow_key(order["buyer_wallet"], bytes.fromhex(order["order_id"]))
        return [
            escrow.complete(key),
            escrow.cancel(key),
            escrow.dispute(key, bytes(32)),
            escrow.rule(key, 0),
            escrow.refund(key),
            escrow.settle_silent(key),
            escrow.deliver(key, b"x" * 48),
        ]
    channel = ChannelClient(chain)
    name = bytes.fromhex(order["channel"]) if order.get("channel") else bytes.fromhex(order["order_id"])
    forged = channel.sign(wallet, name, 10**6)
    return [
        channel.claim(forged),
        channel.close(name, forged),
        channel.close(name, None),
        channel.start_withdraw(name),
        channel.withdraw(name),
    ]


def do(chain: Chain, wallet: Wallet, request: TxRequest) -> None:
    """A step that must succeed."""
    if not lands(chain, wallet, request):
        raise NotRefused(f"“{request.what}” failed")


def lands(chain: Chain, wallet: Wallet, request: TxRequest) -> bool:
    """Whether the chain lets a transaction happen that its contract has not been asked about before."""
    signed = build_and_sign(wallet, chain, request, chain.nonce(wallet.address), simulate=False)
    try:
        return chain.wait_final(chain.broadcast(signed.raw), 60).ok
    except OpenstallError as error:
        raise NotRefused(f"{request.what}: {error.code} {error.message}") from error
