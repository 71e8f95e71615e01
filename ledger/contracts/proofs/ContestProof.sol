// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Contest} from "../sources/Contest.sol";
import {Till} from "../sources/Till.sol";
import {Proof} from "./Proof.sol";

/// @title One step from any state that a contest of two entrants can be in.
/// @notice ONE asks, TWO and THREE enter; there is one evaluator, who signs everything. A ranking names one prize.
contract ContestProof is Proof {
    Contest internal room = new Contest();
    address internal house = address(room);
    address internal constant EVALUATOR = address(0x5555);
    uint256 internal constant FOUND = 3;
    uint256 internal constant BARRED = 2;

    uint8 internal constant OPEN = 1;
    uint8 internal constant JUDGED = 2;
    uint8 internal constant VOID = 3;
    uint8 internal constant CLOSED = 4;

    /// `two` and `three` stand in the place of the entrants' models.
    struct Any {
        uint8 state;
        uint64 entryBy;
        uint64 judgeBy;
        uint64 since;
        uint32 reviewS;
        uint128 pool;
        uint128 deposit;
        uint128 total;
        uint128 claimed;
        bytes32 root;
        bytes32 two;
        bytes32 three;
    }

    struct Act {
        uint8 kind;
        uint8 entrant;
        uint128 amount;
        bytes32 word;
    }

    /// Whatever is called, by whomever: what the contract gives out is what it owed, and another contest stays.
    function check_conservation(
        bytes32 id,
        bytes32 other,
        Any calldata any,
        bytes32[6] calldata others,
        World calldata world,
        Act calldata act
    ) external {
        vm.assume(id != other);
        _put(id, any);
        _putOther(other, others);
        _start(any, world);
        bytes32 before = _words(house, _slot(other, FOUND), 7);
        if (!_call(house, world.caller, _act(act, id))) return;
        assert(_free(house) == world.rest + _owedNow(id));
        assert(_words(house, _slot(other, FOUND), 7) == before);
        _assertStays(id, any);
    }

    /// An entry brings exactly its deposit, from who makes it.
    function check_conservation_enter(bytes32 id, Any calldata any, World calldata world, bytes32 model) external {
        _put(id, any);
        _start(any, world);
        Till.Permit memory permit;
        if (!_call(house, THREE, abi.encodeCall(Contest.enter, (id, model, permit)))) return;
        assert(any.three == 0);
        assert(_free(house) == world.rest + _owedNow(id));
        assert(token.balanceOf(THREE) == MUCH - any.deposit);
        _assertStays(id, any);
    }

    /// Where the evaluators stay silent anyone gives the whole pool back ...
    function check_exit_close_void(bytes32 id, Any calldata any, World calldata world) external {
        vm.assume(any.state == OPEN);
        vm.assume(world.now_ > uint256(any.judgeBy) + any.reviewS);
        _exit(id, any, world, abi.encodeCall(Contest.close, (id)));
        assert(_has(house, ONE) == MUCH + any.pool);
    }

    /// ... and after a verdict what was not claimed.
    function check_exit_close_judged(bytes32 id, Any calldata any, World calldata world) external {
        vm.assume(any.state == JUDGED);
        vm.assume(world.now_ > uint256(any.since) + 2 * uint256(any.reviewS));
        _exit(id, any, world, abi.encodeCall(Contest.close, (id)));
        assert(_has(house, ONE) == MUCH + any.pool - any.claimed);
    }

    function check_exit_withdraw(bytes32 id, Any calldata any, World calldata world) external {
        vm.assume(any.state == VOID || any.state == CLOSED);
        vm.assume(uint256(any.two) > BARRED);
        _exit(id, any, world, abi.encodeCall(Contest.withdraw, (id, TWO)));
        assert(_has(house, TWO) == MUCH + any.deposit);
    }

    /// In the review time an entrant with a prize takes it, with its deposit, by handing over the key.
    function check_exit_claim(bytes32 id, Any calldata any, World calldata world, uint128 amount) external {
        vm.assume(any.state == JUDGED);
        vm.assume(uint256(any.two) > BARRED);
        vm.assume(world.now_ <= uint256(any.since) + any.reviewS);
        vm.assume(amount <= any.total - any.claimed);
        vm.assume(any.root == room.leafOf(id, TWO, amount));
        _put(id, any);
        _start(any, world);
        assert(_call(house, TWO, abi.encodeCall(Contest.claim, (id, amount, new bytes32[](0), hex"01"))));
        assert(_has(house, TWO) == MUCH + amount + any.deposit);
    }

    function _exit(bytes32 id, Any calldata any, World calldata world, bytes memory data) private {
        _put(id, any);
        _start(any, world);
        assert(_call(house, world.caller, data));
    }

    function _start(Any calldata any, World calldata world) private {
        _begin(house, world, _owed(any.state, any.pool, any.claimed, any.deposit, any.two, any.three));
    }

    function _act(Act calldata act, bytes32 id) private pure returns (bytes memory) {
        address entrant = act.entrant == 0 ? TWO : THREE;
        bytes32[] memory proof = new bytes32[](0);
        if (act.kind == 0) return _judge(act, id);
        if (act.kind == 1) return abi.encodeCall(Contest.claim, (id, act.amount, proof, abi.encode(act.word)));
        if (act.kind == 2) return abi.encodeCall(Contest.forfeit, (id, entrant, act.amount, proof));
        if (act.kind == 3) return abi.encodeCall(Contest.close, (id));
        return abi.encodeCall(Contest.withdraw, (id, entrant));
    }

    function _judge(Act calldata act, bytes32 id) private pure returns (bytes memory) {
        return abi.encodeCall(Contest.judge, (id, act.word, act.amount, new uint8[](1), new bytes[](1)));
    }

    /// What opening and the steps leave true of every contest is assumed here, and shown to stay below.
    function _put(bytes32 id, Any calldata any) private {
        _signsAll(EVALUATOR);
        vm.assume(any.state <= 4);
        vm.assume(any.total <= any.pool);
        vm.assume(any.claimed <= any.total);
        vm.assume(any.since < LATE);
        vm.assume(any.judgeBy < LATE);
        if (any.state == OPEN) vm.assume(any.claimed == 0);
        uint256 base = _slot(id, FOUND);
        _store(house, base, 0, _word(ONE) | (uint256(any.entryBy) << 160) | (uint256(any.reviewS) << 224));
        uint256 standing = (uint256(1) << 224) | (uint256(any.state) << 232);
        _store(house, base, 1, _word(address(token)) | (uint256(any.judgeBy) << 160) | standing);
        _store(house, base, 2, uint256(any.pool) | (uint256(any.deposit) << 128));
        _store(house, base, 3, uint256(any.total) | (uint256(any.claimed) << 128));
        _store(house, base, 4, any.since);
        _store(house, base, 5, uint256(any.root));
        _store(house, base, 6, 1);
        _store(house, uint256(keccak256(abi.encode(base + 6))), 0, _word(EVALUATOR));
        vm.store(house, _entry(id, TWO), any.two);
        vm.store(house, _entry(id, THREE), any.three);
    }

    function _entry(bytes32 id, address entrant) private pure returns (bytes32) {
        return keccak256(abi.encode(entrant, keccak256(abi.encode(id, uint256(4)))));
    }

    function _putOther(bytes32 other, bytes32[6] calldata words) private {
        for (uint256 i = 0; i < 6; i++) {
            _store(house, _slot(other, FOUND), i, uint256(words[i]));
        }
    }

    function _owed(uint8 state, uint128 pool, uint128 claimed, uint128 deposit, bytes32 two, bytes32 three)
        private
        pure
        returns (uint256 owed)
    {
        if (state == 0) return 0;
        if (state <= JUDGED) owed = pool - claimed;
        if (uint256(two) > BARRED) owed += deposit;
        if (uint256(three) > BARRED) owed += deposit;
    }

    function _owedNow(bytes32 id) private view returns (uint256) {
        Contest.Competition memory found = room.competitions(id);
        bytes32 two = room.entries(id, TWO);
        return _owed(uint8(found.state), found.pool, found.claimed, found.deposit, two, room.entries(id, THREE));
    }

    function _assertStays(bytes32 id, Any calldata any) private view {
        Contest.Competition memory found = room.competitions(id);
        assert(found.requester == ONE);
        assert(found.pool == any.pool);
        assert(found.deposit == any.deposit);
        assert(found.total <= found.pool);
        assert(found.claimed <= found.total);
        assert(uint8(found.state) != OPEN || found.claimed == 0);
    }
}
