// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelEscrow} from "../sources/ModelEscrow.sol";
import {ModelRules} from "../sources/ModelRules.sol";
import {SealedBidAuction} from "../sources/SealedBidAuction.sol";
import {Till} from "../sources/Till.sol";
import {Proof} from "./Proof.sol";

/// @title One step from any state that an auction of two bidders can be in. ONE asks, TWO and THREE bid.
contract SealedBidAuctionProof is Proof {
    SealedBidAuction internal room = new SealedBidAuction();
    ModelEscrow internal escrow = new ModelEscrow();
    address internal house = address(room);

    uint8 internal constant OPEN = 1;
    uint8 internal constant SETTLED = 2;
    uint8 internal constant VOID = 3;
    uint256 internal constant BARRED = 3;

    /// `two` and `three` stand in the place of the bidders' commitments; `won` is 1 where TWO leads.
    struct Any {
        uint8 state;
        uint8 won;
        uint64 commitBy;
        uint64 revealBy;
        uint64 deliverBy;
        uint128 budget;
        uint128 deposit;
        uint128 best;
        uint128 second;
        bytes32 two;
        bytes32 three;
    }

    struct Act {
        uint8 kind;
        uint8 bidder;
        uint128 amount;
        bytes32 salt;
    }

    /// Whatever is called, by whomever: what the contract gives out is what it owed, and another auction stays.
    function check_conservation(
        bytes32 key,
        bytes32 other,
        Any calldata any,
        bytes32[7] calldata others,
        World calldata world,
        Act calldata act
    ) external {
        vm.assume(key != other);
        _put(key, any, bytes32(0));
        _putOther(other, others);
        _begin(house, world, _owed(any.state, any.budget, any.deposit, any.two, any.three));
        bytes32 before = _words(house, _slot(other, 1), 8);
        if (!_call(house, world.caller, _act(act, key))) return;
        assert(_free(house) == world.rest + _owedNow(key));
        assert(_words(house, _slot(other, 1), 8) == before);
        _assertStays(key, any);
    }

    /// A bid brings exactly its deposit, from who makes it.
    function check_conservation_commit(bytes32 key, Any calldata any, World calldata world, bytes32 commitment)
        external
    {
        _put(key, any, bytes32(0));
        _begin(house, world, _owed(any.state, any.budget, any.deposit, any.two, any.three));
        Till.Permit memory permit;
        if (!_call(house, THREE, abi.encodeCall(SealedBidAuction.commit, (key, commitment, permit)))) return;
        assert(any.three == 0);
        assert(_free(house) == world.rest + _owedNow(key));
        assert(token.balanceOf(THREE) == MUCH - any.deposit);
        _assertStays(key, any);
    }

    /// The price goes into the escrow as an order of this very requester, the rest goes back.
    function check_conservation_award(bytes32 requestHash, Any calldata any, World calldata world, Rules calldata free)
        external
    {
        ModelRules memory rules = _rules(free);
        bytes32 key = room.keyOf(ONE, requestHash);
        vm.assume(any.state == SETTLED);
        _put(key, any, keccak256(abi.encode(rules)));
        _begin(house, world, any.budget);
        bytes memory data = abi.encodeCall(SealedBidAuction.award, (ONE, requestHash, rules));
        if (!_call(house, world.caller, data)) return;
        assert(_free(house) == world.rest);
        assert(_has(house, ONE) == MUCH + any.budget - any.second);
        assert(token.balanceOf(address(escrow)) == any.second);
        ModelEscrow.Order memory order = escrow.orders(escrow.keyOf(house, ONE, requestHash));
        assert(order.buyer == ONE);
        assert(order.seller == TWO);
        assert(order.amount == any.second);
        assert(order.state == ModelEscrow.State.Funded);
    }

    /// After the time for opening bids anyone ends the auction: the forfeits go to the winner ...
    function check_exit_settle_won(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == OPEN);
        vm.assume(any.won == 1);
        vm.assume(world.now_ > any.revealBy);
        uint256 forfeits = _owed(VOID, 0, any.deposit, any.two, any.three);
        _exit(key, any, world, abi.encodeCall(SealedBidAuction.settle, (key)));
        assert(_has(house, TWO) == MUCH + forfeits);
        assert(_has(house, ONE) == MUCH);
    }

    /// ... or, where no bid was opened, the budget to the requester.
    function check_exit_settle_void(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == OPEN);
        vm.assume(any.won == 0);
        vm.assume(world.now_ > any.revealBy);
        _exit(key, any, world, abi.encodeCall(SealedBidAuction.settle, (key)));
        assert(_has(house, ONE) == MUCH + any.budget);
    }

    function check_exit_expire(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == SETTLED);
        vm.assume(world.now_ > any.deliverBy);
        _exit(key, any, world, abi.encodeCall(SealedBidAuction.expire, (key)));
        assert(_has(house, ONE) == MUCH + any.budget);
    }

    function check_exit_withdraw(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == VOID);
        vm.assume(uint256(any.two) > BARRED);
        _exit(key, any, world, abi.encodeCall(SealedBidAuction.withdraw, (key, TWO)));
        assert(_has(house, TWO) == MUCH + any.deposit);
    }

    /// A bid can be opened by anyone who knows it, and its deposit goes back at once.
    function check_exit_reveal(bytes32 key, Any calldata any, World calldata world, uint128 amount, bytes32 salt)
        external
    {
        vm.assume(any.state == OPEN);
        vm.assume(world.now_ > any.commitBy);
        vm.assume(world.now_ <= any.revealBy);
        vm.assume(amount > 0);
        vm.assume(amount <= any.budget);
        bytes32 commitment = room.commitmentOf(key, THREE, amount, salt);
        vm.assume(uint256(commitment) > BARRED);
        vm.assume(any.three == commitment);
        _exit(key, any, world, abi.encodeCall(SealedBidAuction.reveal, (key, THREE, amount, salt)));
        assert(_has(house, THREE) == MUCH + any.deposit);
    }

    struct Rules {
        uint64 deliverBy;
        uint32 evaluateS;
        uint32 reviewS;
        uint32 arbiterS;
        uint16 feeBps;
        uint8 tries;
    }

    /// One evaluator; the arbiter is fixed.
    function _rules(Rules calldata free) private pure returns (ModelRules memory rules) {
        rules.arbiter = address(0x6666);
        rules.deliverBy = free.deliverBy;
        rules.evaluateS = free.evaluateS;
        rules.reviewS = free.reviewS;
        rules.arbiterS = free.arbiterS;
        rules.arbiterFeeBps = free.feeBps;
        rules.tries = free.tries;
        rules.quorum = 1;
        rules.evaluators = new address[](1);
        rules.evaluators[0] = address(0x5555);
    }

    function _exit(bytes32 key, Any calldata any, World calldata world, bytes memory data) private {
        _put(key, any, bytes32(0));
        _begin(house, world, _owed(any.state, any.budget, any.deposit, any.two, any.three));
        assert(_call(house, world.caller, data));
    }

    function _act(Act calldata act, bytes32 key) private pure returns (bytes memory) {
        address bidder = act.bidder == 0 ? TWO : THREE;
        if (act.kind == 0) return abi.encodeCall(SealedBidAuction.reveal, (key, bidder, act.amount, act.salt));
        if (act.kind == 1) return abi.encodeCall(SealedBidAuction.settle, (key));
        if (act.kind == 2) return abi.encodeCall(SealedBidAuction.expire, (key));
        return abi.encodeCall(SealedBidAuction.withdraw, (key, bidder));
    }

    /// What opening and the steps leave true of every auction is assumed here, and shown to stay below.
    function _put(bytes32 key, Any calldata any, bytes32 rulesHash) private {
        vm.assume(any.state <= 5);
        vm.assume(any.won <= 1);
        vm.assume(any.best <= any.second);
        vm.assume(any.second <= any.budget);
        if (any.won == 1) vm.assume(any.two == room.OPENED());
        if (any.state == SETTLED) vm.assume(any.won == 1);
        uint256 sealedBids = (uint256(any.two) > BARRED ? 1 : 0) + (uint256(any.three) > BARRED ? 1 : 0);
        uint256 base = _slot(key, 1);
        _store(house, base, 0, _word(ONE) | (uint256(any.commitBy) << 160) | (sealedBids << 224));
        _store(house, base, 1, _word(address(token)) | (uint256(any.revealBy) << 160) | (uint256(any.state) << 224));
        _store(house, base, 2, uint256(any.budget) | (uint256(any.deposit) << 128));
        _store(house, base, 3, uint256(any.best) | (uint256(any.second) << 128));
        _store(house, base, 4, _word(TWO) * any.won | (uint256(any.deliverBy) << 160));
        _store(house, base, 5, _word(address(escrow)));
        _store(house, base, 6, uint256(rulesHash));
        vm.store(house, _bid(key, TWO), any.two);
        vm.store(house, _bid(key, THREE), any.three);
    }

    function _bid(bytes32 key, address bidder) private pure returns (bytes32) {
        return keccak256(abi.encode(bidder, keccak256(abi.encode(key, uint256(2)))));
    }

    function _putOther(bytes32 other, bytes32[7] calldata words) private {
        for (uint256 i = 0; i < 7; i++) {
            _store(house, _slot(other, 1), i, uint256(words[i]));
        }
    }

    function _owed(uint8 state, uint128 budget, uint128 deposit, bytes32 two, bytes32 three)
        private
        pure
        returns (uint256 owed)
    {
        if (state == OPEN || state == SETTLED) owed = budget;
        if (state == OPEN || state == VOID) {
            if (uint256(two) > BARRED) owed += deposit;
            if (uint256(three) > BARRED) owed += deposit;
        }
    }

    function _owedNow(bytes32 key) private view returns (uint256) {
        SealedBidAuction.Auction memory auction = room.auctions(key);
        return
            _owed(uint8(auction.state), auction.budget, auction.deposit, room.bids(key, TWO), room.bids(key, THREE));
    }

    function _assertStays(bytes32 key, Any calldata any) private view {
        SealedBidAuction.Auction memory auction = room.auctions(key);
        assert(auction.requester == ONE);
        assert(auction.budget == any.budget);
        assert(auction.deposit == any.deposit);
        assert(auction.second <= auction.budget);
        assert(auction.best <= auction.second);
        assert(uint8(auction.state) != SETTLED || auction.winner != address(0));
        assert(uint8(auction.state) != OPEN || auction.sealedBids == _sealed(key, TWO) + _sealed(key, THREE));
    }

    function _sealed(bytes32 key, address bidder) private view returns (uint256) {
        return uint256(room.bids(key, bidder)) > BARRED ? 1 : 0;
    }
}
