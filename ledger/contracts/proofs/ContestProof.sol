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

    /// Another contest, and somebody's entry to it.
    struct Other {
        bytes32 id;
        bytes32[7] words;
        address entrant;
        bytes32 entry;
    }

    /// A verdict moves no money.
    function check_conservation_judge(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 root,
        uint128 total
    ) external {
        bytes memory data = abi.encodeCall(Contest.judge, (id, root, total, new uint8[](1), new bytes[](1)));
        _conserves(id, any, other, world, world.caller, data);
    }

    function check_conservation_claim(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint8 which,
        uint128 amount,
        bytes32 sealedKey
    ) external {
        bytes memory data = abi.encodeCall(Contest.claim, (id, amount, new bytes32[](0), abi.encode(sealedKey)));
        _conserves(id, any, other, world, _entrant(which), data);
    }

    /// What is lost goes to an address that no key opens, and is no longer owed.
    function check_conservation_forfeit(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint8 which,
        uint128 amount
    ) external {
        bytes memory data = abi.encodeCall(Contest.forfeit, (id, _entrant(which), amount, new bytes32[](0)));
        _conserves(id, any, other, world, world.caller, data);
    }

    function check_conservation_close(bytes32 id, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(id, any, other, world, world.caller, abi.encodeCall(Contest.close, (id)));
    }

    function check_conservation_withdraw(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint8 which
    ) external {
        bytes memory data = abi.encodeCall(Contest.withdraw, (id, _entrant(which)));
        _conserves(id, any, other, world, world.caller, data);
    }

    function check_conservation_collect(World calldata world, uint128 kept) external {
        _collects(house, world, kept);
    }

    struct Opening {
        uint64 entryBy;
        uint64 judgeBy;
        uint32 reviewS;
        uint128 pool;
        uint128 deposit;
        address evaluator;
        uint16 weight;
    }

    /// The pool comes in from who opens, all of it, and for this contest only.
    function check_conservation_open(
        bytes32 requestHash,
        uint8 state,
        Other calldata other,
        World calldata world,
        Opening calldata free,
        Till.Permit calldata permit
    ) external {
        bytes32 id = room.idOf(ONE, requestHash);
        vm.assume(id != other.id);
        vm.assume(state <= 4);
        _store(house, _slot(id, FOUND), 1, uint256(state) << 232);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, ONE, abi.encodeCall(Contest.open, (requestHash, _terms(free), permit)))) return;
        assert(state == 0);
        assert(_free(house) == uint256(world.rest) + free.pool);
        assert(token.balanceOf(ONE) == MUCH - free.pool);
        assert(_owedNow(id) == free.pool);
        _assertOtherStays(other);
        Contest.Competition memory found = room.competitions(id);
        assert(found.requester == ONE);
        assert(_both(found.total == 0, found.claimed == 0));
    }

    /// An entry brings exactly its deposit, from who makes it.
    function check_conservation_enter(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes32 model,
        Till.Permit calldata permit
    ) external {
        vm.assume(id != other.id);
        _put(id, any);
        _putOther(other);
        _start(any, world);
        if (!_call(house, THREE, abi.encodeCall(Contest.enter, (id, model, permit)))) return;
        assert(any.three == 0);
        assert(_free(house) == world.rest + _owedNow(id));
        assert(token.balanceOf(THREE) == MUCH - any.deposit);
        _assertOtherStays(other);
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
        vm.assume(_either(any.state == VOID, any.state == CLOSED));
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

    /// Whatever the state and whoever calls: what the contract gives out is what it owed; another contest stays.
    function _conserves(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        address caller,
        bytes memory data
    ) private {
        vm.assume(id != other.id);
        _put(id, any);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, caller, data)) return;
        uint256 owed = _owed(any.state, any.pool, any.claimed, any.deposit, any.two, any.three);
        _assertFits(house, world, owed, _owedNow(id));
        _assertOtherStays(other);
        _assertStays(id, any);
    }

    function _entrant(uint8 which) private pure returns (address) {
        return which == 0 ? TWO : THREE;
    }

    function _terms(Opening calldata free) private view returns (Contest.Terms memory terms) {
        terms.token = address(token);
        terms.pool = free.pool;
        terms.deposit = free.deposit;
        terms.entryBy = free.entryBy;
        terms.judgeBy = free.judgeBy;
        terms.reviewS = free.reviewS;
        terms.quorum = 1;
        terms.evaluators = new address[](1);
        terms.evaluators[0] = free.evaluator;
        terms.weightsBps = new uint16[](1);
        terms.weightsBps[0] = free.weight;
    }

    /// What opening and the steps leave true of every contest is assumed here, and shown to stay below.
    function _put(bytes32 id, Any calldata any) private {
        _signsAll(EVALUATOR);
        vm.assume(any.state <= 4);
        vm.assume(any.total <= any.pool);
        vm.assume(any.claimed <= any.total);
        vm.assume(any.since < LATE);
        vm.assume(any.judgeBy < LATE);
        vm.assume(_either(any.state != OPEN, any.claimed == 0));
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

    function _putOther(Other calldata other) private {
        for (uint256 i = 0; i < 7; i++) {
            _store(house, _slot(other.id, FOUND), i, uint256(other.words[i]));
        }
        vm.store(house, _entry(other.id, other.entrant), other.entry);
    }

    function _assertOtherStays(Other calldata other) private view {
        bytes32 changed = room.entries(other.id, other.entrant) ^ other.entry;
        for (uint256 i = 0; i < 7; i++) {
            changed |= vm.load(house, bytes32(_slot(other.id, FOUND) + i)) ^ other.words[i];
        }
        assert(changed == 0);
    }

    function _owed(uint8 state, uint128 pool, uint128 claimed, uint128 deposit, bytes32 two, bytes32 three)
        private
        pure
        returns (uint256 owed)
    {
        if (state == 0) return 0;
        unchecked {
            if (state <= JUDGED) owed = uint256(pool) - claimed;
            if (uint256(two) > BARRED) owed += deposit;
            if (uint256(three) > BARRED) owed += deposit;
        }
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
        assert(_either(uint8(found.state) != OPEN, found.claimed == 0));
    }
}
