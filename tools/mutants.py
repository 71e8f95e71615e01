"""The contracts broken on purpose, each in one place, and the proof that has to see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One contract broken in one place, and the proof that must see it."""

    contract: str
    proof: str
    old: str
    new: str
    source: str = ""
    """The file that is changed, where it is not the contract's own."""

    def cells(self) -> list[str]:
        """The first cells of its row in the table."""
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return [self.contract, self.proof, f"`{old}`", f"`{new}`" if new else "nothing"]


# For each contract: the proof, what stands in the source, what is put in its place.
BROKEN = {
    "Contest": [
        ("conservation_claim", "        found.claimed += amount;\n", ""),
        (
            "conservation_claim",
            "found.claimed += amount;",
            "found.claimed += amount;\n        entries[bytes32(0)][msg.sender] = OVER;",
        ),
        ("conservation_close", "uint128 rest = found.pool - found.claimed;", "uint128 rest = found.pool;"),
        (
            "conservation_close",
            "_enter(found, judged ? State.Closed : State.Void);",
            "_enter(found, judged ? State.Closed : State.Void);\n        _competitions[bytes32(0)].pool = 0;",
        ),
        ("conservation_enter", "_pull(token, deposit);", "_pull(token, deposit - 1);"),
        ("conservation_forfeit", "SINK, found.deposit);", "SINK, uint256(amount) + found.deposit);"),
        ("conservation_judge", "_enter(found, State.Judged);", "_enter(found, State.Closed);"),
        ("conservation_judge", "if (total > found.pool) revert AbovePool();\n", "\n"),
        ("conservation_open", "_pull(terms.token, terms.pool);", "_pull(terms.token, terms.deposit);"),
        ("conservation_withdraw", "        entries[id][entrant] = OVER;\n        _pay(", "        _pay("),
        (
            "exit_claim",
            "if (amount > found.total - found.claimed)",
            "if (amount >= found.total - found.claimed)",
        ),
        ("exit_close_judged", "uint128 rest = found.pool - found.claimed;", "uint128 rest = found.pool;"),
        ("exit_close_void", "found.judgeBy + review))", "found.judgeBy + 2 * review))"),
        (
            "exit_withdraw",
            "if (found.state != State.Void && found.state != State.Closed)",
            "if (found.state != State.Void)",
        ),
    ],
    "MeteredChannel": [
        ("conservation_claim", "        channel.claimed = amount;\n", ""),
        (
            "conservation_claim",
            "channel.claimed = amount;",
            "channel.claimed = amount;\n        channels[bytes32(0)].deposit = 0;",
        ),
        ("conservation_close", "channel.closed = true;", "channel.closed = false;"),
        ("conservation_open", "_pull(token, deposit);", "_pull(token, deposit - 1);"),
        ("conservation_open_with_permit", "_pull(token, deposit);", "_pull(token, deposit - 1);"),
        (
            "conservation_start_withdraw",
            "channel.withdrawAt = uint64(block.timestamp)",
            "channel.closed = true;\n        channel.withdrawAt = uint64(block.timestamp)",
        ),
        (
            "conservation_withdraw",
            "uint128 rest = channel.deposit - channel.claimed;",
            "uint128 rest = channel.deposit;",
        ),
        ("exit_close", "if (msg.sender != channel.payee)", "if (msg.sender != channel.payer)"),
        ("exit_close_with_voucher", "if (amount > channel.deposit)", "if (amount >= channel.deposit)"),
        (
            "exit_start_withdraw",
            "uint64(block.timestamp) + channel.withdrawDelayS;",
            "uint64(block.timestamp) + channel.withdrawDelayS + 1;",
        ),
        (
            "exit_withdraw",
            "uint128 rest = channel.deposit - channel.claimed;",
            "uint128 rest = channel.deposit;",
        ),
        (
            "exit_withdraw",
            "block.timestamp <= channel.withdrawAt)",
            "block.timestamp <= uint256(channel.withdrawAt) + channel.withdrawDelayS)",
        ),
    ],
    "ModelEscrow": [
        (
            "conservation_assess",
            "passed ? State.Passed : State.Failed);",
            "passed ? State.Passed : State.Refunded);",
        ),
        (
            "conservation_cancel",
            "revert NotYours();\n        _settle(key, order, State.Refunded,",
            "revert NotYours();\n        _settle(key, order, State.Passed,",
        ),
        (
            "conservation_claim",
            "revert TooEarly();\n        _settle(key, order, State.Completed,",
            "revert TooEarly();\n        _settle(key, order, State.HandedOver,",
        ),
        (
            "conservation_complete",
            "order.buyer) revert NotYours();\n        _settle(key, order, State.Completed,",
            "order.buyer) revert NotYours();\n        _settle(key, order, State.HandedOver,",
        ),
        ("conservation_dispute", "_enter(order, State.Disputed);", "_enter(order, State.Ruled);"),
        (
            "conservation_fund_for",
            "_pull(terms.token, terms.amount);",
            "_pull(terms.token, terms.amount - 1);",
        ),
        (
            "conservation_fund_with_permit",
            "_pull(terms.token, terms.amount);",
            "_pull(terms.token, terms.amount - 1);",
        ),
        ("conservation_hand_over", "_enter(order, State.HandedOver);", "_enter(order, State.Completed);"),
        (
            "conservation_refund",
            "revert TooEarly();\n        _settle(key, order, State.Refunded,",
            "revert TooEarly();\n        _settle(key, order, State.Funded,",
        ),
        ("conservation_rule", "amount - toBuyer - fee);", "amount - toBuyer);"),
        (
            "conservation_settle_silent",
            "_settle(key, order, State.Ruled, order.amount / 2, 0);",
            "_settle(key, order, State.Disputed, order.amount / 2, 0);",
        ),
        ("conservation_submit", "_enter(order, State.Submitted);", "_enter(order, State.Completed);"),
        (
            "conservation_submit",
            "order.attempt += 1;",
            "order.attempt += 1;\n        _orders[bytes32(0)].amount = 0;",
        ),
        ("exit_claim", "_pay(key, token, order.seller, amount", "_pay(key, token, order.buyer, amount"),
        (
            "exit_refund_failed",
            "return canTry ? order.deliverBy : reviewed;",
            "return canTry ? order.deliverBy + reviewed : reviewed;",
        ),
        (
            "exit_refund_failed_no_try_left",
            "bool canTry = order.attempt < order.tries && order.deliverBy > reviewed;",
            "bool canTry = order.deliverBy > reviewed;",
        ),
        (
            "exit_refund_funded",
            "if (state == State.Funded) return order.deliverBy;",
            "if (state == State.Funded) return uint256(order.deliverBy) + order.reviewS;",
        ),
        (
            "exit_refund_passed",
            "if (state == State.Passed) return reviewed;",
            "if (state == State.Passed) return order.deliverBy;",
        ),
        (
            "exit_refund_submitted",
            "return reviewed + order.evaluateS;",
            "return reviewed + 2 * uint256(order.evaluateS);",
        ),
        ("exit_settle_silent", "State.Ruled, order.amount / 2, 0);", "State.Ruled, order.amount, 0);"),
    ],
    "OrderEscrow": [
        (
            "conservation_cancel",
            "revert NotYours();\n        _settle(key, order, State.Refunded,",
            "revert NotYours();\n        _settle(key, order, State.Funded,",
        ),
        (
            "conservation_claim",
            "revert TooEarly();\n        _settle(key, order, State.Completed,",
            "revert TooEarly();\n        _settle(key, order, State.Delivered,",
        ),
        (
            "conservation_complete",
            "order.buyer) revert NotYours();\n        _settle(key, order, State.Completed,",
            "order.buyer) revert NotYours();\n        _settle(key, order, State.Delivered,",
        ),
        ("conservation_deliver", "order.state = State.Delivered;", "order.state = State.Completed;"),
        ("conservation_dispute", "order.state = State.Disputed;", "order.state = State.Ruled;"),
        (
            "conservation_dispute",
            "order.state = State.Disputed;",
            "order.state = State.Disputed;\n        orders[bytes32(0)].amount = 0;",
        ),
        ("conservation_fund", "_pull(terms.token, terms.amount);", "_pull(terms.token, terms.amount - 1);"),
        (
            "conservation_fund_with_permit",
            "_pull(terms.token, terms.amount);",
            "_pull(terms.token, terms.amount - 1);",
        ),
        (
            "conservation_refund",
            "revert TooEarly();\n        _settle(key, order, State.Refunded,",
            "revert TooEarly();\n        _settle(key, order, State.Funded,",
        ),
        ("conservation_rule", "amount - toBuyer - fee);", "amount - toBuyer);"),
        (
            "conservation_settle_silent",
            "_settle(key, order, State.Ruled, _share(order.amount, order.silentBuyerBps), 0);",
            "_settle(key, order, State.Disputed, _share(order.amount, order.silentBuyerBps), 0);",
        ),
        ("exit_claim", "order.state = state;\n        order.since", "order.since"),
        ("exit_claim", "_pay(key, token, order.seller, amount", "_pay(key, token, order.buyer, amount"),
        (
            "exit_refund",
            "block.timestamp <= order.deliverBy",
            "block.timestamp <= uint256(order.deliverBy) + order.reviewS",
        ),
        (
            "exit_settle_silent",
            "_share(order.amount, order.silentBuyerBps), 0);",
            "_share(order.amount, order.arbiterFeeBps), 0);",
        ),
    ],
    "SealedBidAuction": [
        (
            "conservation_award",
            "_pay(key, terms.token, requester, auction.budget - terms.amount);",
            "_pay(key, terms.token, requester, auction.budget);",
        ),
        ("conservation_commit", "_pull(token, deposit);", "_pull(token, deposit - 1);"),
        ("conservation_expire", "        auction.state = State.Expired;\n", ""),
        (
            "conservation_expire",
            "auction.state = State.Expired;",
            "auction.state = State.Expired;\n        _auctions[bytes32(0)].budget = 0;",
        ),
        ("conservation_open", "_pull(terms.token, terms.budget);", "_pull(terms.token, terms.deposit);"),
        ("conservation_reveal", "        bids[key][bidder] = OPENED;\n", ""),
        ("conservation_reveal", "auction.sealedBids -= 1;", "auction.sealedBids -= 0;"),
        (
            "conservation_settle",
            "uint256(auction.sealedBids) * auction.deposit",
            "(uint256(auction.sealedBids) + 1) * auction.deposit",
        ),
        ("conservation_settle", "auction.state = State.Void;", "auction.state = State.Open;"),
        ("conservation_withdraw", "        bids[key][bidder] = PAID_BACK;\n", ""),
        (
            "conservation_withdraw",
            "bids[key][bidder] = PAID_BACK;",
            "bids[key][bidder] = PAID_BACK;\n        bids[bytes32(0)][bidder] = PAID_BACK;",
        ),
        ("exit_expire", "block.timestamp <= auction.deliverBy", "block.timestamp <= auction.deliverBy + 60"),
        (
            "exit_reveal",
            "_pay(key, auction.token, bidder, auction.deposit);\n    }\n\n    /// Anyone may end",
            "_pay(key, auction.token, msg.sender, auction.deposit);\n    }\n\n    /// Anyone may end",
        ),
        (
            "exit_settle_void",
            "_pay(key, token, auction.requester, auction.budget);",
            "_pay(key, token, auction.requester, auction.deposit);",
        ),
        (
            "exit_settle_won",
            "_pay(key, token, winner, forfeits);",
            "_pay(key, token, auction.requester, forfeits);",
        ),
        (
            "exit_withdraw",
            "bidder, auction.deposit);\n    }\n\n    function auctions(",
            "msg.sender, auction.deposit);\n    }\n\n    function auctions(",
        ),
    ],
}
TAKEN_TWICE = "        uncollected[token][msg.sender] = 0;\n"
MUTANTS = [
    *(Mutant(contract, *broken) for contract, several in BROKEN.items() for broken in several),
    *(Mutant(contract, "conservation_collect", TAKEN_TWICE, "", "Till") for contract in BROKEN),
]
