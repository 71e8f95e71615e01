// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// The prover's instructions that the proofs use.
interface Prover {
    function assume(bool holds) external pure;
    function warp(uint256 timestamp) external;
    function prank(address sender) external;
    function store(address where, bytes32 slot, bytes32 value) external;
    function etch(address where, bytes calldata code) external;
    function load(address where, bytes32 slot) external view returns (bytes32 value);
}

/// @title A token that may refuse to be pushed to an address, and asks nobody before it lets money be pulled.
/// @notice It knows no signed allowance, so that one always fails; the allowance itself is always there. Nothing
/// that the proofs show may therefore rest on allowances.
contract ProofToken {
    mapping(address owner => uint256) public balanceOf;
    /// Zero takes money; one answers false; anything else reverts.
    mapping(address owner => uint256) public mood;

    function set(address owner, uint256 balance, uint256 mood_) external {
        balanceOf[owner] = balance;
        mood[owner] = mood_;
    }

    function approve(address, uint256) external pure returns (bool) {
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        uint256 now_ = mood[to];
        if (now_ == 1) return false;
        if (now_ != 0) revert();
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @title Somebody who signs whatever it is shown: the worst that a party or an evaluator can be.
contract SignsAll {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return this.isValidSignature.selector;
    }
}

interface Holds {
    function collect(address token) external;
    function uncollected(address token, address owner) external view returns (uint256);
}

/// @title What every proof begins with: parties, a token, a clock.
/// @notice The parties are different addresses, fixed; the caller is any address. Every other value is free. The
/// conditions are written without && and ||, which would double the paths.
abstract contract Proof {
    Prover internal constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));
    address internal constant ONE = address(0x1111);
    address internal constant TWO = address(0x2222);
    address internal constant THREE = address(0x3333);
    /// Far beyond every sum of money and every date there can be, and far from where numbers overflow.
    uint256 internal constant MUCH = 2 ** 200;
    uint256 internal constant LATE = 2 ** 62;

    ProofToken internal token = new ProofToken();

    /// The clock, any free caller, what the contract holds for others, and whom the token refuses.
    struct World {
        uint64 now_;
        address caller;
        uint128 rest;
        uint8 moods;
    }

    /// The world in which a contract holds `owed` and what it holds for others.
    function _begin(address house, World calldata world, uint256 owed) internal {
        vm.assume(world.now_ < LATE);
        vm.assume(world.caller != house);
        vm.assume(world.caller != address(token));
        vm.assume(world.moods < 8);
        vm.warp(world.now_);
        token.set(house, world.rest + owed, 0);
        token.set(ONE, MUCH, world.moods & 1);
        token.set(TWO, MUCH, world.moods & 2);
        token.set(THREE, MUCH, world.moods & 4);
    }

    /// A call that began with `world.rest` in the contract, all that it owed among it, gave out what it owes less.
    /// What was owed is counted after the call, where it is known in which state the record was: fewer paths.
    function _assertFits(address house, World calldata world, uint256 owed, uint256 owes) internal view {
        vm.assume(world.rest >= owed);
        assert(_free(house) + owed == world.rest + owes);
    }

    /// What the contract holds, less what it keeps for parties that could not be paid.
    function _free(address house) internal view returns (uint256) {
        return token.balanceOf(house) - _kept(house, ONE) - _kept(house, TWO) - _kept(house, THREE);
    }

    /// What a party has, in its hands or to be collected.
    function _has(address house, address who) internal view returns (uint256) {
        return token.balanceOf(who) + _kept(house, who);
    }

    function _kept(address house, address who) internal view returns (uint256) {
        return Holds(house).uncollected(address(token), who);
    }

    /// What could not be pushed is taken by its owner, once.
    function _collects(address house, World calldata world, uint128 kept) internal {
        _begin(house, world, kept);
        token.set(ONE, MUCH, 0);
        vm.store(house, keccak256(abi.encode(ONE, keccak256(abi.encode(token, uint256(0))))), bytes32(uint256(kept)));
        vm.assume(kept > 0);
        bytes memory data = abi.encodeCall(Holds.collect, (address(token)));
        assert(_call(house, ONE, data));
        assert(token.balanceOf(ONE) == MUCH + kept);
        assert(_free(house) == world.rest);
        assert(!_call(house, ONE, data));
    }

    function _call(address house, address caller, bytes memory data) internal returns (bool done) {
        vm.prank(caller);
        (done,) = house.call(data);
    }

    /// From now on this address signs everything; what a real signature is, is left to the chain.
    function _signsAll(address who) internal {
        vm.etch(who, type(SignsAll).runtimeCode);
    }

    /// Whether one of both holds, without the two paths that || would make.
    function _either(bool one, bool two) internal pure returns (bool holds) {
        assembly ("memory-safe") {
            holds := or(one, two)
        }
    }

    function _both(bool one, bool two) internal pure returns (bool hold) {
        assembly ("memory-safe") {
            hold := and(one, two)
        }
    }

    /// The amount if it is so, else nothing; without the two paths that an `if` would make.
    function _when(bool holds, uint256 amount) internal pure returns (uint256 counted) {
        assembly ("memory-safe") {
            counted := and(sub(0, holds), amount)
        }
    }

    /// The words of a record, to be put or compared.
    function _words(address house, uint256 base, uint256 count) internal view returns (bytes32 hash) {
        bytes32[] memory words = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            words[i] = vm.load(house, bytes32(base + i));
        }
        return keccak256(abi.encode(words));
    }

    function _store(address house, uint256 base, uint256 place, uint256 word) internal {
        vm.store(house, bytes32(base + place), bytes32(word));
    }

    function _slot(bytes32 key, uint256 mapping_) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(key, mapping_)));
    }

    function _word(address who) internal pure returns (uint256) {
        return uint256(uint160(who));
    }
}
