// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MeteredChannel} from "../sources/MeteredChannel.sol";
import {Till} from "../sources/Till.sol";
import {Proof} from "./Proof.sol";

/// @title One step from any state that a channel can be in. ONE is the payer, who signs everything; TWO the payee.
contract MeteredChannelProof is Proof {
    MeteredChannel internal desk = new MeteredChannel();
    address internal house = address(desk);
    uint256 internal constant CHANNELS = 3;

    struct Any {
        uint8 closed;
        uint32 delayS;
        uint64 withdrawAt;
        uint128 deposit;
        uint128 claimed;
    }

    /// Another channel.
    struct Other {
        bytes32 id;
        bytes32[4] words;
    }

    function check_conservation_claim(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint128 amount
    ) external {
        _conserves(id, any, other, world, abi.encodeCall(MeteredChannel.claim, (id, amount, "")));
    }

    function check_conservation_close(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        uint128 amount
    ) external {
        _conserves(id, any, other, world, abi.encodeCall(MeteredChannel.close, (id, amount, "")));
    }

    function check_conservation_start_withdraw(bytes32 id, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(id, any, other, world, abi.encodeCall(MeteredChannel.startWithdraw, (id)));
    }

    function check_conservation_withdraw(bytes32 id, Any calldata any, Other calldata other, World calldata world)
        external
    {
        _conserves(id, any, other, world, abi.encodeCall(MeteredChannel.withdraw, (id)));
    }

    struct Opening {
        address payee;
        uint128 deposit;
        uint32 delayS;
        bytes32 salt;
    }

    /// Money comes in from who opens, all of it, and into this channel only.
    function check_conservation_open(uint8 live, Other calldata other, World calldata world, Opening calldata free)
        external
    {
        bytes memory data =
            abi.encodeCall(MeteredChannel.open, (free.payee, address(token), free.deposit, free.delayS, free.salt));
        _opens(live, other, world, free, data);
    }

    function check_conservation_open_with_permit(
        uint8 live,
        Other calldata other,
        World calldata world,
        Opening calldata free,
        Till.Permit calldata permit
    ) external {
        bytes memory data = abi.encodeCall(
            MeteredChannel.openWithPermit,
            (free.payee, address(token), free.deposit, free.delayS, free.salt, permit)
        );
        _opens(live, other, world, free, data);
    }

    function check_conservation_collect(World calldata world, uint128 kept) external {
        _collects(house, world, kept);
    }

    /// After the announced date anyone sends the rest back to the payer.
    function check_exit_withdraw(bytes32 id, Any calldata any, World calldata world) external {
        vm.assume(any.withdrawAt != 0);
        vm.assume(world.now_ > any.withdrawAt);
        _exit(id, any, world, world.caller, abi.encodeCall(MeteredChannel.withdraw, (id)), any.claimed);
    }

    /// The payee closes at any time without a new voucher, and the rest goes back.
    function check_exit_close(bytes32 id, Any calldata any, World calldata world) external {
        _exit(id, any, world, TWO, abi.encodeCall(MeteredChannel.close, (id, 0, "")), any.claimed);
    }

    /// The payee closes at any time with the payer's last voucher, and is paid what it says.
    function check_exit_close_with_voucher(bytes32 id, Any calldata any, World calldata world, uint128 amount)
        external
    {
        vm.assume(amount > any.claimed);
        vm.assume(amount <= any.deposit);
        _exit(id, any, world, TWO, abi.encodeCall(MeteredChannel.close, (id, amount, "")), amount);
    }

    /// The payer can always announce, once, and the date is the agreed delay away.
    function check_exit_start_withdraw(bytes32 id, Any calldata any, World calldata world) external {
        _put(id, any);
        _begin(house, world, any.deposit - any.claimed);
        vm.assume(any.closed == 0);
        vm.assume(any.withdrawAt == 0);
        assert(_call(house, ONE, abi.encodeCall(MeteredChannel.startWithdraw, (id))));
        (,, uint64 withdrawAt,,,,,) = desk.channels(id);
        assert(withdrawAt == world.now_ + any.delayS);
    }

    function _exit(
        bytes32 id,
        Any calldata any,
        World calldata world,
        address caller,
        bytes memory data,
        uint128 claimed
    ) private {
        vm.assume(any.closed == 0);
        _put(id, any);
        _begin(house, world, any.deposit - any.claimed);
        assert(_call(house, caller, data));
        assert(_has(house, ONE) == MUCH + any.deposit - claimed);
        assert(_has(house, TWO) == MUCH + claimed - any.claimed);
        (,,,, bool closed,,,) = desk.channels(id);
        assert(closed);
    }

    function _assertStays(bytes32 id, Any calldata any, World calldata world) private view {
        (, uint32 delayS, uint64 withdrawAt,, bool closed,, uint128 deposit, uint128 claimed) = desk.channels(id);
        assert(claimed <= deposit);
        assert(claimed >= any.claimed);
        uint256 owed = _owed(any.closed, any.deposit, any.claimed);
        _assertFits(house, world, owed, _owed(closed ? 1 : 0, deposit, claimed));
        assert(_has(house, TWO) == MUCH + claimed - any.claimed);
        assert(deposit == any.deposit);
        assert(delayS == any.delayS);
        assert(_either(withdrawAt == any.withdrawAt, withdrawAt == world.now_ + delayS));
    }

    function _assertNew(bytes32 id, address payee, uint128 deposit) private view {
        (address payer,,, address payee_, bool closed,, uint128 deposit_, uint128 claimed) = desk.channels(id);
        assert(payer == ONE);
        assert(payee_ == payee);
        assert(!closed);
        assert(deposit_ == deposit);
        assert(claimed == 0);
    }

    /// Whatever the state and whoever calls: what the contract gives out is what it owed; another channel stays.
    function _conserves(
        bytes32 id,
        Any calldata any,
        Other calldata other,
        World calldata world,
        bytes memory data
    ) private {
        vm.assume(id != other.id);
        _put(id, any);
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, world.caller, data)) return;
        _assertOtherStays(other);
        _assertStays(id, any, world);
    }

    function _opens(
        uint8 live,
        Other calldata other,
        World calldata world,
        Opening calldata free,
        bytes memory data
    ) private {
        bytes32 id = desk.idOf(ONE, free.payee, address(token), free.delayS, free.salt);
        vm.assume(id != other.id);
        vm.assume(live <= 1);
        _store(house, _slot(id, CHANNELS), 0, _when(live == 1, _word(ONE)));
        _putOther(other);
        _begin(house, world, 0);
        if (!_call(house, ONE, data)) return;
        assert(live == 0);
        assert(_free(house) == uint256(world.rest) + free.deposit);
        assert(token.balanceOf(ONE) == MUCH - free.deposit);
        _assertOtherStays(other);
        _assertNew(id, free.payee, free.deposit);
    }

    function _put(bytes32 id, Any calldata any) private {
        _signsAll(ONE);
        vm.assume(any.closed <= 1);
        vm.assume(any.withdrawAt < LATE);
        vm.assume(any.claimed <= any.deposit);
        uint256 base = _slot(id, CHANNELS);
        _store(house, base, 0, _word(ONE) | (uint256(any.delayS) << 160) | (uint256(any.withdrawAt) << 192));
        _store(house, base, 1, _word(TWO) | (uint256(any.closed) << 160));
        _store(house, base, 2, _word(address(token)));
        _store(house, base, 3, uint256(any.deposit) | (uint256(any.claimed) << 128));
    }

    function _putOther(Other calldata other) private {
        for (uint256 i = 0; i < 4; i++) {
            _store(house, _slot(other.id, CHANNELS), i, uint256(other.words[i]));
        }
    }

    function _assertOtherStays(Other calldata other) private view {
        bytes32 changed = 0;
        for (uint256 i = 0; i < 4; i++) {
            changed |= vm.load(house, bytes32(_slot(other.id, CHANNELS) + i)) ^ other.words[i];
        }
        assert(changed == 0);
    }

    function _owed(uint8 closed, uint128 deposit, uint128 claimed) private pure returns (uint256) {
        unchecked {
            return closed == 0 ? uint256(deposit) - claimed : 0;
        }
    }
}
