// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelEscrow} from "../sources/ModelEscrow.sol";
import {Proof} from "./Proof.sol";

/// @title One step from any state that an order for a model can be in.
/// @notice ONE is the buyer, TWO the seller, THREE the arbiter; there is one evaluator, who signs everything.
contract ModelEscrowProof is Proof {
    ModelEscrow internal escrow = new ModelEscrow();
    address internal house = address(escrow);
    address internal constant EVALUATOR = address(0x5555);
    uint256 internal constant ORDERS = 3;

    uint8 internal constant FUNDED = 1;
    uint8 internal constant SUBMITTED = 2;
    uint8 internal constant PASSED = 3;
    uint8 internal constant FAILED = 4;
    uint8 internal constant HANDED_OVER = 5;
    uint8 internal constant DISPUTED = 6;

    struct Any {
        uint8 state;
        uint8 judged;
        uint8 attempt;
        uint8 tries;
        uint64 since;
        uint64 deliverBy;
        uint32 evaluateS;
        uint32 reviewS;
        uint32 arbiterS;
        uint16 feeBps;
        uint128 amount;
        bytes32 modelHash;
    }

    struct Act {
        uint8 kind;
        bool passed;
        bytes32 word;
        uint16 bps;
    }

    /// Whatever is called, by whomever: what the contract gives out is what it owed, and another order stays.
    function check_conservation(
        bytes32 key,
        bytes32 other,
        Any calldata any,
        bytes32[6] calldata others,
        World calldata world,
        Act calldata act
    ) external {
        vm.assume(key != other);
        _put(key, any);
        _putOther(other, others);
        _begin(house, world, _owed(any.state, any.amount));
        bytes32 before = _words(house, _slot(other, ORDERS), 7);
        if (!_call(house, world.caller, _act(act, key))) return;
        assert(_free(house) == world.rest + _owedNow(key));
        assert(_words(house, _slot(other, ORDERS), 7) == before);
        _assertStays(key);
    }

    struct Rules {
        address seller;
        address arbiter;
        address evaluator;
        uint64 deliverBy;
        uint32 evaluateS;
        uint32 reviewS;
        uint32 arbiterS;
        uint16 feeBps;
        uint8 tries;
        uint8 quorum;
        uint128 amount;
    }

    /// Money comes in from who pays, all of it, and into this order only.
    function check_conservation_fund(bytes32 requestHash, World calldata world, Rules calldata free) external {
        bytes32 key = escrow.keyOf(ONE, TWO, requestHash);
        _begin(house, world, 0);
        if (!_call(house, ONE, abi.encodeCall(ModelEscrow.fundFor, (TWO, requestHash, _terms(free))))) return;
        assert(_owedNow(key) == free.amount);
        assert(_free(house) == uint256(world.rest) + free.amount);
        assert(token.balanceOf(ONE) == MUCH - free.amount);
        ModelEscrow.Order memory order = escrow.orders(key);
        assert(order.buyer == TWO);
        assert(order.seller == free.seller);
        assert(order.arbiterFeeBps <= 1_000);
    }

    function check_exit_refund_funded(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == FUNDED);
        vm.assume(world.now_ > any.deliverBy);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.refund, (key)), any.amount);
    }

    function check_exit_refund_submitted(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == SUBMITTED);
        vm.assume(world.now_ > uint256(any.since) + any.evaluateS + any.reviewS);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.refund, (key)), any.amount);
    }

    function check_exit_refund_passed(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == PASSED);
        vm.assume(world.now_ > uint256(any.since) + any.reviewS);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.refund, (key)), any.amount);
    }

    function check_exit_refund_failed(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == FAILED);
        vm.assume(world.now_ > uint256(any.since) + any.reviewS);
        vm.assume(world.now_ > any.deliverBy);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.refund, (key)), any.amount);
    }

    function check_exit_refund_failed_no_try_left(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == FAILED);
        vm.assume(any.attempt >= any.tries);
        vm.assume(world.now_ > uint256(any.since) + any.reviewS);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.refund, (key)), any.amount);
    }

    function check_exit_claim(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == HANDED_OVER);
        vm.assume(world.now_ > uint256(any.since) + any.reviewS);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.claim, (key)), 0);
    }

    function check_exit_settle_silent(bytes32 key, Any calldata any, World calldata world) external {
        vm.assume(any.state == DISPUTED);
        vm.assume(world.now_ > uint256(any.since) + any.arbiterS);
        _exit(key, any, world, abi.encodeCall(ModelEscrow.settleSilent, (key)), any.amount / 2);
    }

    function _exit(bytes32 key, Any calldata any, World calldata world, bytes memory data, uint256 toBuyer) private {
        _put(key, any);
        _begin(house, world, any.amount);
        assert(_call(house, world.caller, data));
        assert(_has(house, ONE) == MUCH + toBuyer);
        assert(_has(house, TWO) == MUCH + any.amount - toBuyer);
        assert(_owedNow(key) == 0);
    }

    function _act(Act calldata act, bytes32 key) private pure returns (bytes memory) {
        if (act.kind == 0) return abi.encodeCall(ModelEscrow.submit, (key, act.word));
        if (act.kind == 1) return _assess(act, key);
        if (act.kind == 2) return abi.encodeCall(ModelEscrow.handOver, (key, abi.encode(act.word)));
        if (act.kind == 3) return abi.encodeCall(ModelEscrow.complete, (key));
        if (act.kind == 4) return abi.encodeCall(ModelEscrow.claim, (key));
        if (act.kind == 5) return abi.encodeCall(ModelEscrow.refund, (key));
        if (act.kind == 6) return abi.encodeCall(ModelEscrow.cancel, (key));
        if (act.kind == 7) return abi.encodeCall(ModelEscrow.dispute, (key, act.word));
        if (act.kind == 8) return abi.encodeCall(ModelEscrow.rule, (key, act.bps));
        return abi.encodeCall(ModelEscrow.settleSilent, (key));
    }

    function _assess(Act calldata act, bytes32 key) private pure returns (bytes memory) {
        uint8[] memory places = new uint8[](1);
        bytes32[] memory reports = new bytes32[](1);
        reports[0] = act.word;
        return abi.encodeCall(ModelEscrow.assess, (key, act.passed, places, reports, new bytes[](1)));
    }

    function _terms(Rules calldata free) private view returns (ModelEscrow.Terms memory terms) {
        terms.seller = free.seller;
        terms.token = address(token);
        terms.amount = free.amount;
        terms.rules.arbiter = free.arbiter;
        terms.rules.deliverBy = free.deliverBy;
        terms.rules.evaluateS = free.evaluateS;
        terms.rules.reviewS = free.reviewS;
        terms.rules.arbiterS = free.arbiterS;
        terms.rules.arbiterFeeBps = free.feeBps;
        terms.rules.tries = free.tries;
        terms.rules.quorum = free.quorum;
        terms.rules.evaluators = new address[](1);
        terms.rules.evaluators[0] = free.evaluator;
    }

    /// What funding and the steps leave true of every order is assumed here, and shown to stay below.
    function _put(bytes32 key, Any calldata any) private {
        _signsAll(EVALUATOR);
        vm.assume(any.state <= 9);
        vm.assume(any.judged <= 1);
        vm.assume(any.feeBps <= 1_000);
        vm.assume(any.since < LATE);
        vm.assume((any.state ^ DISPUTED) | any.judged != 0);
        uint256 base = _slot(key, ORDERS);
        uint256 tries = (uint256(any.attempt) << 232) | (uint256(any.tries) << 240) | (uint256(1) << 248);
        _store(house, base, 0, _word(ONE) | (uint256(any.since) << 160) | (uint256(any.state) << 224) | tries);
        _store(house, base, 1, _word(TWO) | (uint256(any.deliverBy) << 160) | (uint256(any.evaluateS) << 224));
        uint256 windows = (uint256(any.reviewS) << 160) | (uint256(any.arbiterS) << 192);
        _store(house, base, 2, _word(THREE) * any.judged | windows | (uint256(any.feeBps) << 224));
        _store(house, base, 3, _word(address(token)));
        _store(house, base, 4, any.amount);
        _store(house, base, 5, uint256(any.modelHash));
        _store(house, base, 6, 1);
        _store(house, uint256(keccak256(abi.encode(base + 6))), 0, _word(EVALUATOR));
    }

    function _putOther(bytes32 other, bytes32[6] calldata words) private {
        for (uint256 i = 0; i < 6; i++) {
            _store(house, _slot(other, ORDERS), i, uint256(words[i]));
        }
    }

    /// The amount in the six states that hold it.
    function _owed(uint8 state, uint128 amount) private pure returns (uint256) {
        unchecked {
            return uint8(state - FUNDED) < 6 ? amount : 0;
        }
    }

    function _owedNow(bytes32 key) private view returns (uint256) {
        ModelEscrow.Order memory order = escrow.orders(key);
        return _owed(uint8(order.state), order.amount);
    }

    function _assertStays(bytes32 key) private view {
        ModelEscrow.Order memory order = escrow.orders(key);
        assert(order.buyer == ONE);
        assert(order.seller == TWO);
        assert(order.arbiterFeeBps <= 1_000);
        assert(uint160(order.arbiter) | (uint8(order.state) ^ DISPUTED) != 0);
    }
}
