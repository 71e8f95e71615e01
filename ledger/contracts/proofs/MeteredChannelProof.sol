// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MeteredChannel} from "../sources/MeteredChannel.sol";
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

    /// Whatever is called, by whomever: what the contract gives out is what it owed, and another channel stays.
    function check_conservation(
        bytes32 id,
        bytes32 other,
        Any calldata any,
        bytes32[4] calldata others,
        World calldata world,
        uint8 act,
        uint128 amount
    ) external {
        vm.assume(id != other);
        _put(id, any);
        _putOther(other, others);
        _begin(house, world, _owed(any.closed, any.deposit, any.claimed));
        bytes32 before = _words(house, _slot(other, CHANNELS), 5);
        if (!_call(house, world.caller, _act(act, id, amount))) return;
        assert(_words(house, _slot(other, CHANNELS), 5) == before);
        _assertFits(id, any, world);
    }

    /// Money comes in from who opens, all of it, and into this channel only.
    function check_conservation_open(
        bytes32 salt,
        bytes32 other,
        bytes32[4] calldata others,
        World calldata world,
        address payee,
        uint128 deposit,
        uint32 delayS
    ) external {
        bytes32 id = desk.idOf(ONE, payee, address(token), delayS, salt);
        vm.assume(id != other);
        _putOther(other, others);
        _begin(house, world, 0);
        bytes32 before = _words(house, _slot(other, CHANNELS), 5);
        bytes memory data = abi.encodeCall(MeteredChannel.open, (payee, address(token), deposit, delayS, salt));
        if (!_call(house, ONE, data)) return;
        assert(_free(house) == uint256(world.rest) + deposit);
        assert(token.balanceOf(ONE) == MUCH - deposit);
        assert(_words(house, _slot(other, CHANNELS), 5) == before);
        _assertNew(id, payee, deposit);
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

    function _assertFits(bytes32 id, Any calldata any, World calldata world) private view {
        (, uint32 delayS, uint64 withdrawAt,, bool closed,, uint128 deposit, uint128 claimed) = desk.channels(id);
        assert(claimed <= deposit);
        assert(claimed >= any.claimed);
        assert(_free(house) == world.rest + _owed(closed ? 1 : 0, deposit, claimed));
        assert(_has(house, TWO) == MUCH + claimed - any.claimed);
        assert(deposit == any.deposit);
        assert(delayS == any.delayS);
        assert(withdrawAt == any.withdrawAt || withdrawAt == world.now_ + delayS);
    }

    function _assertNew(bytes32 id, address payee, uint128 deposit) private view {
        (address payer,,, address payee_, bool closed,, uint128 deposit_, uint128 claimed) = desk.channels(id);
        assert(payer == ONE);
        assert(payee_ == payee);
        assert(!closed);
        assert(deposit_ == deposit);
        assert(claimed == 0);
    }

    function _act(uint8 act, bytes32 id, uint128 amount) private pure returns (bytes memory) {
        if (act == 0) return abi.encodeCall(MeteredChannel.claim, (id, amount, ""));
        if (act == 1) return abi.encodeCall(MeteredChannel.close, (id, amount, ""));
        if (act == 2) return abi.encodeCall(MeteredChannel.startWithdraw, (id));
        return abi.encodeCall(MeteredChannel.withdraw, (id));
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

    function _putOther(bytes32 other, bytes32[4] calldata words) private {
        for (uint256 i = 0; i < 4; i++) {
            _store(house, _slot(other, CHANNELS), i, uint256(words[i]));
        }
    }

    function _owed(uint8 closed, uint128 deposit, uint128 claimed) private pure returns (uint256) {
        return closed == 0 ? deposit - claimed : 0;
    }
}
