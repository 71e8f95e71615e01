"""Client of `MeteredChannel`: requests for each step, and the channel as the chain sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from openstall.ledger.abi import codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import NO_ADDRESS
from openstall.ledger.vouchers import Voucher, channel_id_of, check_voucher, sign_voucher
from openstall.ledger.wallet import Wallet
from openstall.market.errors import InvalidOrder

ChannelState = Literal["none", "open", "withdrawing", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTerms:
    """What payer and payee agreed on; `salt` is the order hash."""

    payer: str
    payee: str
    deposit_micro: int
    withdraw_delay_s: int
    salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOnChain:
    """A channel; `withdraw_at` is 0 until the payer announces, then Unix seconds by the chain's clock."""

    channel_id: bytes
    state: ChannelState
    payer: str
    payee: str
    token: str
    deposit_micro: int
    claimed_micro: int
    withdraw_delay_s: int
    withdraw_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Money that was set aside for a job; `at` is by the chain's clock."""

    payer: str
    payee: str
    deposit_micro: int
    at: int
    tx_hash: str


class ChannelClient:
    """Requests and readings on the metered channels of one chain. Thread-safe."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("MeteredChannel")

    def channel_id(self, terms: ChannelTerms) -> bytes:
        """The channel's identity; it commits to every term but the deposit."""
        return channel_id_of(
            chain_id=self._chain.params.chain_id,
            contract=self._chain.params.channel,
            payer=terms.payer,
            payee=terms.payee,
            token=self._chain.params.credit,
            withdraw_delay_s=terms.withdraw_delay_s,
            salt=terms.salt,
        )

    def opened(self, from_block: int, to_block: int) -> list[Opened]:
        """All channels in this group's credit that were opened in `[from_block, to_block]`, oldest first."""
        events = self._chain.events("MeteredChannel", [], from_block=from_block, to_block=to_block)
        return [
            Opened(
                payer=event.args["payer"],
                payee=event.args["payee"],
                deposit_micro=event.args["deposit"],
                at=self._chain.block(event.block_number).timestamp,
                tx_hash=event.tx_hash,
            )
            for event in events
            if event.name == "Opened" and event.args["token"].lower() == self._chain.params.credit.lower()
        ]

    def open(self, wallet: Wallet, terms: ChannelTerms, *, pay_by: int | None = None) -> TxRequest:
        """Deposit, in one transaction, with an allowance signed for exactly the deposit.

        After `pay_by` (Unix seconds) the allowance is void, so a late payment fails instead of landing.

        Raises:
            InvalidOrder: the wallet is not the payer of the terms.
        """
        if wallet.address.lower() != terms.payer.lower():
            raise InvalidOrder("wrong_signer", "This wallet is not the payer of the order.")
        token = self._chain.params.credit
        permit = CreditClient(self._chain).sign_permit(
            wallet, self._chain.params.channel, terms.deposit_micro, pay_by=pay_by
        )
        args = (terms.payee, token, terms.deposit_micro, terms.withdraw_delay_s, terms.salt, permit)
        return self._request("openWithPermit", 400_000, "set money aside for the job", *args)

    def claim(self, voucher: Voucher) -> TxRequest:
        """The payee takes what the voucher promises beyond what it has taken."""
        args = (voucher.channel_id, voucher.amount_micro, voucher.signature)
        return self._request("claim", 200_000, "claim what was earned", *args)

    def close(self, channel_id: bytes, voucher: Voucher | None) -> TxRequest:
        """The payee takes its last voucher (None: nothing was earned) and returns the rest."""
        last = voucher if voucher is not None else Voucher(channel_id=channel_id, amount_micro=0)
        if last.channel_id != channel_id:
            raise InvalidOrder("other_channel", "The voucher belongs to another channel.")
        return self._request("close", 260_000, "settle", channel_id, last.amount_micro, last.signature)

    def start_withdraw(self, channel_id: bytes) -> TxRequest:
        """The payer announces that it takes the rest back."""
        return self._request("startWithdraw", 100_000, "take the rest back", channel_id)

    def withdraw(self, channel_id: bytes) -> TxRequest:
        """The rest goes back to the payer, after the announced date."""
        return self._request("withdraw", 180_000, "take the rest back", channel_id)

    def sign(self, wallet: Wallet, channel_id: bytes, amount_micro: int) -> Voucher:
        """A voucher of the payer for this chain and this contract."""
        chain_id, contract = self._chain.params.chain_id, self._chain.params.channel
        return sign_voucher(wallet, channel_id, amount_micro, chain_id=chain_id, contract=contract)

    def check(self, voucher: Voucher, terms: ChannelTerms, *, least_micro: int) -> None:
        """What the payee checks in each voucher; see `vouchers.check_voucher`."""
        check_voucher(
            voucher,
            channel_id=self.channel_id(terms),
            payer=terms.payer,
            least_micro=least_micro,
            cap_micro=terms.deposit_micro,
            chain_id=self._chain.params.chain_id,
            contract=self._chain.params.channel,
        )

    def channel(self, channel_id: bytes) -> ChannelOnChain:
        """The channel as the chain has it; state `none` when it was never opened."""
        seen = self._chain.view("MeteredChannel", "channels", channel_id)
        values = dict(zip(self._abi.outputs("channels"), seen, strict=True))
        opened = ChannelOnChain(
            channel_id=channel_id,
            state="open",
            payer=str(values["payer"]).lower(),
            payee=str(values["payee"]).lower(),
            token=str(values["token"]).lower(),
            deposit_micro=values["deposit"],
            claimed_micro=values["claimed"],
            withdraw_delay_s=values["withdrawDelayS"],
            withdraw_at=values["withdrawAt"],
        )
        if opened.payer == NO_ADDRESS:
            return replace(opened, state="none")
        if values["closed"]:
            return replace(opened, state="closed")
        return replace(opened, state="withdrawing") if opened.withdraw_at else opened

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.params.channel, data=data, gas=gas, what=what)
