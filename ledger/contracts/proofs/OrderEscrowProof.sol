// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OrderEscrow} from "../sources/OrderEscrow.sol";
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

    /// Whatever is called, by whomever: what the contract gives out is what it owed, and another order stays.
    function check_conservation(
        bytes32 key,
        bytes32 other,
        Any calldata any,
        bytes32[5] calldata others,
        World calldata world,
        uint8 act,
        bytes32 word,
        uint16 bps
    ) external {
        vm.assume(key != other);
        _put(key, any);
        _putOther(other, others);
        _begin(house, world, _owed(any.state, any.amount));
        bytes32 before = _words(house, _slot(other, 1), 6);
        if (!_call(house, world.caller, _act(act, key, word, bps))) return;
        assert(_free(house) == world.rest + _owedNow(key));
        assert(_words(house, _slot(other, 1), 6) == before);
        _assertStays(key);
    }

    /// Money comes in from who funds, all of it, and into this order only.
    function check_conservation_fund(
        bytes32 orderHash,
        bytes32 other,
        bytes32[5] calldata others,
        World calldata world,
        OrderEscrow.Terms calldata terms
    ) external {
        bytes32 key = escrow.keyOf(ONE, orderHash);
        vm.assume(key != other);
        vm.assume(terms.token == address(token));
        _putOther(other, others);
        _begin(house, world, 0);
        bytes32 before = _words(house, _slot(other, 1), 6);
        if (!_call(house, ONE, abi.encodeCall(OrderEscrow.fund, (orderHash, terms)))) return;
        assert(_owedNow(key) == terms.amount);
        assert(_free(house) == uint256(world.rest) + terms.amount);
        assert(token.balanceOf(ONE) == MUCH - terms.amount);
        assert(_words(house, _slot(other, 1), 6) == before);
        assert(terms.arbiterFeeBps <= 1_000);
        assert(terms.silentBuyerBps <= 10_000);
    }

    /// What could not be pushed is taken by its owner, once.
    function check_conservation_collect(World calldata world, uint128 kept) external {
        _begin(house, world, kept);
        token.set(ONE, MUCH, 0);
        vm.store(house, keccak256(abi.encode(ONE, keccak256(abi.encode(token, uint256(0))))), bytes32(uint256(kept)));
        vm.assume(kept > 0);
        assert(_call(house, ONE, abi.encodeCall(escrow.collect, (address(token)))));
        assert(token.balanceOf(ONE) == MUCH + kept);
        assert(_free(house) == world.rest);
        assert(!_call(house, ONE, abi.encodeCall(escrow.collect, (address(token)))));
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

    function _act(uint8 act, bytes32 key, bytes32 word, uint16 bps) private pure returns (bytes memory) {
        if (act == 0) return abi.encodeCall(OrderEscrow.deliver, (key, abi.encode(word)));
        if (act == 1) return abi.encodeCall(OrderEscrow.complete, (key));
        if (act == 2) return abi.encodeCall(OrderEscrow.claim, (key));
        if (act == 3) return abi.encodeCall(OrderEscrow.refund, (key));
        if (act == 4) return abi.encodeCall(OrderEscrow.cancel, (key));
        if (act == 5) return abi.encodeCall(OrderEscrow.dispute, (key, word));
        if (act == 6) return abi.encodeCall(OrderEscrow.rule, (key, bps));
        return abi.encodeCall(OrderEscrow.settleSilent, (key));
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
        uint256 arbiter = _word(THREE) * any.judged;
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

    function _putOther(bytes32 other, bytes32[5] calldata words) private {
        for (uint256 i = 0; i < 5; i++) {
            _store(house, _slot(other, 1), i, uint256(words[i]));
        }
    }

    /// The amount in the three states that hold it.
    function _owed(uint8 state, uint128 amount) private pure returns (uint256) {
        unchecked {
            return uint8(state - FUNDED) < 3 ? amount : 0;
        }
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
