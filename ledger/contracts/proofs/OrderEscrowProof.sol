// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OrderEscrow} from "../sources/OrderEscrow.sol";
import {Till} from "../sources/Till.sol";
import {Proof} from "./Proof.sol";

/// @title One step from any state that an order can be in. ONE is the buyer, TWO the seller, THREE the arbiter.
contract OrderEscrowProof is Proof {
    OrderEscrow internal escrow = new OrderEscrow();
    address internal house = address(escrow);

    uint8 internal constant FUNDED = 1;
    uint8 internal constant DELIVERED = 2;
    uint8 internal constant DISPUTED = 3;

    struct Any {
        uint8 state;
        uint8 judged;
        uint64 since;
        uint64 deliverBy;
        uint32 reviewS;
        uint32 arbiterS;
        uint16 feeBps;
        uint16 silentBps;
        uint128 amount;
    }

    /// Another order.
    struct Other {
        bytes32 key;
        bytes32[5] words;
    }

    function check_conservation_deliver(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 sealedKey
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.deliver, (key, abi.encode(sealedKey))));
    }

    function check_conservation_complete(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.complete, (key)));
    }

    function check_conservation_claim(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.claim, (key)));
    }

    function check_conservation_refund(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.refund, (key)));
    }

    function check_conservation_cancel(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.cancel, (key)));
    }

    function check_conservation_dispute(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 evidenceHash
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.dispute, (key, evidenceHash)));
    }

    /// The shares may be any: what the buyer and the arbiter do not have, the seller has.
    function check_conservation_rule(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint16 buyerBps
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.rule, (key, buyerBps)));
    }

    /// The share may be any here too.
    function check_conservation_settle_silent(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(OrderEscrow.settleSilent, (key)));
    }

    /// Money comes in from who funds, all of it, and into this order only.
    function check_conservation_fund(
        bytes32 orderHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        OrderEscrow.Terms calldata terms
    ) external {
        _funds(orderHash, state, other, world, terms, abi.encodeCall(OrderEscrow.fund, (orderHash, terms)));
    }

    function check_conservation_fund_with_permit(
        bytes32 orderHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        OrderEscrow.Terms calldata terms,
        Till.Permit calldata permit
    ) external {
        bytes memory data = abi.encodeCall(OrderEscrow.fundWithPermit, (orderHash, terms, permit));
        _funds(orderHash, state, other, world, terms, data);
    }

    /// What could not be pushed is taken by its owner, once.
    function check_conservation_collect(World calldata world, uint128 kept) external {
        _collects(house, world, kept);
    }

    /// After each state's deadline anyone ends it, and the agreed party has the money.
    function check_exit_refund(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == FUNDED);
        vm.assume(world.now_ > any.deliverBy);
        _exit(key, any, world, abi.encodeCall(OrderEscrow.refund, (key)), any.amount);
    }

    function check_exit_claim(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == DELIVERED);
        vm.assume(world.now_ > uint256(any.since) + any.reviewS);
        _exit(key, any, world, abi.encodeCall(OrderEscrow.claim, (key)), 0);
    }

    /// Bounded to four amounts and four shares, the times and the rest free: products and quotients of free numbers
    /// are too hard for the solver.
    function check_exit_settle_silent(bytes32 key, Any calldata any, World calldata world, uint8 which) external {
        uint128[4] memory amounts = [uint128(1), 9_999, 5_000_000, type(uint128).max];
        uint16[4] memory shares = [uint16(0), 1, 7_500, 10_000];
        for (uint256 i = 0; i < 16; i++) {
            if (which == i) _exitSilent(key, any, world, amounts[i / 4], shares[i % 4]);
        }
    }

    function _exitSilent(bytes32 key, Any calldata any, World calldata world, uint128 amount, uint16 share) private {
        vm.assume(any.state == DISPUTED);
        vm.assume(world.now_ > uint256(any.since) + any.arbiterS);
        _put(key, any);
        uint256 fixed_ = (uint256(any.arbiterS) << 160) | (uint256(share) << 208);
        _store(house, _slot(key, 1), 2, _word(THREE) | fixed_);
        _store(house, _slot(key, 1), 4, amount);
        _begin(house, world, amount);
        assert(_call(house, world.caller, abi.encodeCall(OrderEscrow.settleSilent, (key))));
        uint256 toBuyer = (uint256(amount) * share) / 10_000;
        assert(_has(house, ONE) == MUCH + toBuyer);
        assert(_has(house, TWO) == MUCH + amount - toBuyer);
        assert(_owedNow(key) == 0);
    }

    function _exit(bytes32 key, Any calldata any, World calldata world, bytes memory data, uint256 toBuyer) private {
        _put(key, any);
        _begin(house, world, any.amount);
        assert(_call(house, world.caller, data));
        assert(_has(house, ONE) == MUCH + toBuyer);
        assert(_has(house, TWO) == MUCH + any.amount - toBuyer);
        assert(_owedNow(key) == 0);
    }

    /// Whatever the state and whoever calls: what the contract gives out is what it owed; another order stays.
    function _conserves(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes memory data
    ) private {
        vm.assume(key != other.key);
        _put(key, any);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, world.caller, data)) return;
        _assertFits(house, world, _owed(any.state, any.amount), _owedNow(key));
        _assertOtherStays(other);
        _assertStays(key);
    }

    function _funds(
        bytes32 orderHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        OrderEscrow.Terms calldata terms,
        bytes memory data
    ) private {
        bytes32 key = escrow.keyOf(ONE, orderHash);
        vm.assume(key != other.key);
        vm.assume(state <= 6);
        vm.assume(terms.token == address(token));
        _store(house, _slot(key, 1), 0, uint256(state) << 224);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, ONE, data)) return;
        assert(state == 0);
        assert(_owedNow(key) == terms.amount);
        assert(_free(house) == uint256(world.rest) + terms.amount);
        assert(token.balanceOf(ONE) == MUCH - terms.amount);
        _assertOtherStays(other);
        assert(terms.arbiterFeeBps <= 1_000);
        assert(terms.silentBuyerBps <= 10_000);
    }

    /// What the check of the terms and the steps leave true of every order is assumed here, and shown to stay below.
    function _put(bytes32 key, Any calldata any) private {
        vm.assume(any.state <= 6);
        vm.assume(any.judged <= 1);
        vm.assume(any.feeBps <= 1_000);
        vm.assume(any.silentBps <= 10_000);
        vm.assume(any.since < LATE);
        vm.assume((any.state ^ DISPUTED) | any.judged != 0);
        uint256 base = _slot(key, 1);
        uint256 arbiter = _when(any.judged == 1, _word(THREE));
        _store(house, base, 0, _word(ONE) | (uint256(any.since) << 160) | (uint256(any.state) << 224));
        _store(house, base, 1, _word(TWO) | (uint256(any.deliverBy) << 160) | (uint256(any.reviewS) << 224));
        _store(
            house,
            base,
            2,
            arbiter | (uint256(any.arbiterS) << 160) | (uint256(any.feeBps) << 192) | (uint256(any.silentBps) << 208)
        );
        _store(house, base, 3, _word(address(token)));
        _store(house, base, 4, any.amount);
    }

    function _putOther(Other calldata other) private {
        for (uint256 i = 0; i < 5; i++) {
            _store(house, _slot(other.key, 1), i, uint256(other.words[i]));
        }
    }

    function _assertOtherStays(Other calldata other) private view {
        bytes32 changed = 0;
        for (uint256 i = 0; i < 5; i++) {
            changed |= vm.load(house, bytes32(_slot(other.key, 1) + i)) ^ other.words[i];
        }
        assert(changed == 0);
    }

    /// The amount in the three states that hold it.
    function _owed(uint8 state, uint128 amount) private pure returns (uint256) {
        return _both(state >= FUNDED, state <= DISPUTED) ? amount : 0;
    }

    function _owedNow(bytes32 key) private view returns (uint256) {
        (,, OrderEscrow.State state,,,,,,,,, uint128 amount) = escrow.orders(key);
        return _owed(uint8(state), amount);
    }

    function _assertStays(bytes32 key) private view {
        (address buyer,, OrderEscrow.State state, address seller,,, address arbiter,, uint16 fee, uint16 silent, address token_,) =
            escrow.orders(key);
        assert(buyer == ONE);
        assert(seller == TWO);
        assert(uint160(arbiter) | (uint8(state) ^ DISPUTED) != 0);
        assert(fee <= 1_000);
        assert(silent <= 10_000);
        assert(token_ == address(token));
    }
}
