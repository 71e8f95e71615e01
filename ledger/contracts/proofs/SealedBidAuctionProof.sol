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
    uint256 internal constant OPENED = 1;
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

    /// Another auction, and somebody's bid in it.
    struct Other {
        bytes32 key;
        bytes32[7] words;
        address bidder;
        bytes32 bid;
    }

    /// Whoever opens a bid, and whosesoever it is: its deposit alone goes out.
    function check_conservation_reveal(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint8 which,
        uint128 amount,
        bytes32 salt
    ) external {
        address bidder = _bidder(which);
        vm.assume(uint256(room.commitmentOf(key, bidder, amount, salt)) > BARRED);
        _conserves(key, any, other, world, abi.encodeCall(SealedBidAuction.reveal, (key, bidder, amount, salt)));
    }

    /// The end of an auction gives out the forfeits, or the budget.
    function check_conservation_settle(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(SealedBidAuction.settle, (key)));
    }

    function check_conservation_expire(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(SealedBidAuction.expire, (key)));
    }

    function check_conservation_withdraw(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint8 which
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(SealedBidAuction.withdraw, (key, _bidder(which))));
    }

    /// A bid brings exactly its deposit, from who makes it.
    function check_conservation_commit(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 commitment,
        Till.Permit calldata permit
    ) external {
        vm.assume(key != other.key);
        _put(key, any, bytes32(0));
        _putOther(other);
        _begin(house, world, _owed(any.state, any.budget, any.deposit, any.two, any.three));
        if (!_call(house, THREE, abi.encodeCall(SealedBidAuction.commit, (key, commitment, permit)))) return;
        assert(any.three == 0);
        assert(_free(house) == world.rest + _owedNow(key));
        assert(token.balanceOf(THREE) == MUCH - any.deposit);
        _assertOtherStays(other);
        _assertStays(key, any);
    }

    function check_conservation_collect(World calldata world, uint128 kept) external {
        _collects(house, world, kept);
    }

    struct Opening {
        uint64 commitBy;
        uint64 revealBy;
        uint128 budget;
        uint128 deposit;
    }

    /// The budget comes in from who opens, all of it, and for this auction only.
    function check_conservation_open(
        bytes32 requestHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        Opening calldata free,
        Rules calldata rules,
        Till.Permit calldata permit
    ) external {
        bytes32 key = room.keyOf(ONE, requestHash);
        vm.assume(key != other.key);
        vm.assume(state <= 5);
        _store(house, _slot(key, 1), 1, uint256(state) << 224);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, ONE, abi.encodeCall(SealedBidAuction.open, (requestHash, _terms(free, rules), permit)))) return;
        assert(state == 0);
        assert(_free(house) == uint256(world.rest) + free.budget);
        assert(token.balanceOf(ONE) == MUCH - free.budget);
        assert(_owedNow(key) == free.budget);
        _assertOtherStays(other);
        SealedBidAuction.Auction memory auction = room.auctions(key);
        assert(auction.requester == ONE);
        assert(auction.winner == address(0));
        assert(auction.sealedBids == 0);
        assert(_both(auction.best == free.budget, auction.second == free.budget));
    }

    /// The price goes into the escrow as an order of this very requester, the rest goes back.
    function check_conservation_award(
        bytes32 requestHash,
        Any calldata any,
        Other calldata other,
        World calldata world,
        Rules calldata free
    ) external {
        ModelRules memory rules = _rules(free);
        bytes32 key = room.keyOf(ONE, requestHash);
        vm.assume(key != other.key);
        vm.assume(any.state == SETTLED);
        _put(key, any, keccak256(abi.encode(rules)));
        _putOther(other);
        _begin(house, world, any.budget);
        if (!_call(house, world.caller, abi.encodeCall(SealedBidAuction.award, (ONE, requestHash, rules)))) return;
        _assertOtherStays(other);
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

    function _terms(Opening calldata free, Rules calldata rules)
        private
        view
        returns (SealedBidAuction.Terms memory terms)
    {
        terms.token = address(token);
        terms.escrow = address(escrow);
        terms.budget = free.budget;
        terms.deposit = free.deposit;
        terms.commitBy = free.commitBy;
        terms.revealBy = free.revealBy;
        terms.rules = _rules(rules);
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

    /// Whatever the state and whoever calls: what the contract gives out is what it owed; another auction stays.
    function _conserves(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes memory data
    ) private {
        vm.assume(key != other.key);
        _put(key, any, bytes32(0));
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, world.caller, data)) return;
        _assertFits(house, world, _owed(any.state, any.budget, any.deposit, any.two, any.three), _owedNow(key));
        _assertOtherStays(other);
        _assertStays(key, any);
    }

    function _bidder(uint8 which) private pure returns (address) {
        return which == 0 ? TWO : THREE;
    }

    /// What opening and the steps leave true of every auction is assumed here, and shown to stay below.
    function _put(bytes32 key, Any calldata any, bytes32 rulesHash) private {
        vm.assume(any.state <= 5);
        vm.assume(any.won <= 1);
        vm.assume(any.best <= any.second);
        vm.assume(any.second <= any.budget);
        vm.assume(_either(any.won == 0, uint256(any.two) == OPENED));
        vm.assume(_either(any.won == 1, any.best == any.budget));
        vm.assume(_either(any.won == 1, any.state != SETTLED));
        uint256 sealedBids = _when(uint256(any.two) > BARRED, 1) + _when(uint256(any.three) > BARRED, 1);
        uint256 base = _slot(key, 1);
        _store(house, base, 0, _word(ONE) | (uint256(any.commitBy) << 160) | (sealedBids << 224));
        _store(house, base, 1, _word(address(token)) | (uint256(any.revealBy) << 160) | (uint256(any.state) << 224));
        _store(house, base, 2, uint256(any.budget) | (uint256(any.deposit) << 128));
        _store(house, base, 3, uint256(any.best) | (uint256(any.second) << 128));
        _store(house, base, 4, _when(any.won == 1, _word(TWO)) | (uint256(any.deliverBy) << 160));
        _store(house, base, 5, _word(address(escrow)));
        _store(house, base, 6, uint256(rulesHash));
        vm.store(house, _bid(key, TWO), any.two);
        vm.store(house, _bid(key, THREE), any.three);
    }

    function _bid(bytes32 key, address bidder) private pure returns (bytes32) {
        return keccak256(abi.encode(bidder, keccak256(abi.encode(key, uint256(2)))));
    }

    function _putOther(Other calldata other) private {
        for (uint256 i = 0; i < 7; i++) {
            _store(house, _slot(other.key, 1), i, uint256(other.words[i]));
        }
        vm.store(house, _bid(other.key, other.bidder), other.bid);
    }

    function _assertOtherStays(Other calldata other) private view {
        bytes32 changed = room.bids(other.key, other.bidder) ^ other.bid;
        for (uint256 i = 0; i < 7; i++) {
            changed |= vm.load(house, bytes32(_slot(other.key, 1) + i)) ^ other.words[i];
        }
        assert(changed == 0);
    }

    function _owed(uint8 state, uint128 budget, uint128 deposit, bytes32 two, bytes32 three)
        private
        pure
        returns (uint256 owed)
    {
        if (_either(state == OPEN, state == SETTLED)) owed = budget;
        if (!_either(state == OPEN, state == VOID)) return owed;
        unchecked {
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
        bool won = auction.winner != address(0);
        assert(_either(won, auction.best == auction.budget));
        assert(_either(won, uint8(auction.state) != SETTLED));
        assert(_either(!won, uint256(room.bids(key, auction.winner)) == OPENED));
        uint256 sealedBids = _sealed(key, TWO) + _sealed(key, THREE);
        assert(_either(uint8(auction.state) != OPEN, auction.sealedBids == sealedBids));
    }

    function _sealed(bytes32 key, address bidder) private view returns (uint256) {
        return _when(uint256(room.bids(key, bidder)) > BARRED, 1);
    }
}
