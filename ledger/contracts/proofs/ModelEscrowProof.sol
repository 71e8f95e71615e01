// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelEscrow} from "../sources/ModelEscrow.sol";
import {Till} from "../sources/Till.sol";
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

    /// Another order.
    struct Other {
        bytes32 key;
        bytes32[7] words;
    }

    function check_conservation_submit(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 modelHash
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.submit, (key, modelHash)));
    }

    /// A verdict moves no money.
    function check_conservation_assess(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bool passed,
        bytes32 report
    ) external {
        bytes32[] memory reports = new bytes32[](1);
        reports[0] = report;
        bytes[] memory signatures = new bytes[](1);
        bytes memory data = abi.encodeCall(ModelEscrow.assess, (key, passed, new uint8[](1), reports, signatures));
        _conserves(key, any, other, world, data);
    }

    function check_conservation_hand_over(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 sealedKey
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.handOver, (key, abi.encode(sealedKey))));
    }

    function check_conservation_complete(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.complete, (key)));
    }

    function check_conservation_claim(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.claim, (key)));
    }

    function check_conservation_refund(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.refund, (key)));
    }

    function check_conservation_cancel(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.cancel, (key)));
    }

    function check_conservation_dispute(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 evidenceHash
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.dispute, (key, evidenceHash)));
    }

    /// The shares may be any: what the buyer and the arbiter do not have, the seller has.
    function check_conservation_rule(
        bytes32 key,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint16 buyerBps
    ) external {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.rule, (key, buyerBps)));
    }

    function check_conservation_settle_silent(bytes32 key, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(key, any, other, world, abi.encodeCall(ModelEscrow.settleSilent, (key)));
    }

    function check_conservation_collect(World calldata world, uint128 kept) external {
        _collects(house, world, kept);
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
    function check_conservation_fund_for(
        bytes32 requestHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        Rules calldata free
    ) external {
        bytes memory data = abi.encodeCall(ModelEscrow.fundFor, (TWO, requestHash, _terms(free)));
        _funds(escrow.keyOf(ONE, TWO, requestHash), TWO, state, other, world, free, data);
    }

    function check_conservation_fund_with_permit(
        bytes32 requestHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        Rules calldata free,
        Till.Permit calldata permit
    ) external {
        bytes memory data = abi.encodeCall(ModelEscrow.fundWithPermit, (requestHash, _terms(free), permit));
        _funds(escrow.keyOf(ONE, ONE, requestHash), ONE, state, other, world, free, data);
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
        bytes32 key,
        address buyer,
        uint8 state,
        Other calldata other,
        World calldata world,
        Rules calldata free,
        bytes memory data
    ) private {
        vm.assume(key != other.key);
        vm.assume(state <= 9);
        _store(house, _slot(key, ORDERS), 0, uint256(state) << 224);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, ONE, data)) return;
        assert(state == 0);
        assert(_free(house) == uint256(world.rest) + free.amount);
        assert(token.balanceOf(ONE) == MUCH - free.amount);
        _assertOtherStays(other);
        ModelEscrow.Order memory order = escrow.orders(key);
        assert(_owed(uint8(order.state), order.amount) == free.amount);
        assert(order.buyer == buyer);
        assert(order.seller == free.seller);
        assert(order.arbiterFeeBps <= 1_000);
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
        _store(house, base, 2, _when(any.judged == 1, _word(THREE)) | windows | (uint256(any.feeBps) << 224));
        _store(house, base, 3, _word(address(token)));
        _store(house, base, 4, any.amount);
        _store(house, base, 5, uint256(any.modelHash));
        _store(house, base, 6, 1);
        _store(house, uint256(keccak256(abi.encode(base + 6))), 0, _word(EVALUATOR));
    }

    function _putOther(Other calldata other) private {
        for (uint256 i = 0; i < 7; i++) {
            _store(house, _slot(other.key, ORDERS), i, uint256(other.words[i]));
        }
    }

    function _assertOtherStays(Other calldata other) private view {
        bytes32 changed = 0;
        for (uint256 i = 0; i < 7; i++) {
            changed |= vm.load(house, bytes32(_slot(other.key, ORDERS) + i)) ^ other.words[i];
        }
        assert(changed == 0);
    }

    /// The amount in the six states that hold it.
    function _owed(uint8 state, uint128 amount) private pure returns (uint256) {
        return _both(state >= FUNDED, state <= DISPUTED) ? amount : 0;
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
