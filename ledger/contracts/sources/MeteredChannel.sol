// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Till} from "./Till.sol";

/// @title Pays for metered work by vouchers that only ever grow, up to a deposit.
/// @notice The payer deposits once and signs cumulative vouchers off chain; the payee claims the last one.
/// The payee can close at any time, and the rest goes back at once. When the payee is silent the payer
/// announces a withdrawal, waits withdrawDelayS, and takes what was not claimed. Claims stay possible until then.
contract MeteredChannel is Till, EIP712 {
    struct Channel {
        address payer;
        uint32 withdrawDelayS;
        uint64 withdrawAt;
        address payee;
        bool closed;
        address token;
        uint128 deposit;
        uint128 claimed;
    }

    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    uint32 public constant MIN_DELAY_S = 60;
    uint32 public constant MAX_DELAY_S = 30 days;

    mapping(bytes32 channelId => Channel) public channels;

    event Opened(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        address token,
        uint128 deposit,
        uint32 withdrawDelayS,
        bytes32 salt
    );
    event Claimed(bytes32 indexed channelId, address indexed payer, address indexed payee, uint128 claimed);
    event WithdrawStarted(bytes32 indexed channelId, address indexed payer, address indexed payee, uint64 withdrawAt);
    event Closed(bytes32 indexed channelId, address indexed payer, address indexed payee, uint128 claimed, uint128 returned);

    error BadTerms();
    error AlreadyOpen();
    error NotOpen();
    error NotYours();
    error TooEarly();
    error AboveDeposit();
    error BadSignature();
    error NothingNew();

    constructor() EIP712("Openstall MeteredChannel", "1") {}

    /// The identity of a channel; the salt is the hash of the order that both parties signed.
    function idOf(address payer, address payee, address token, uint32 withdrawDelayS, bytes32 salt)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), payer, payee, token, withdrawDelayS, salt));
    }

    function open(address payee, address token, uint128 deposit, uint32 withdrawDelayS, bytes32 salt)
        external
        nonReentrant
        returns (bytes32 channelId)
    {
        return _open(payee, token, deposit, withdrawDelayS, salt);
    }

    /// Opens with an ERC-2612 allowance signed for exactly the deposit.
    function openWithPermit(
        address payee,
        address token,
        uint128 deposit,
        uint32 withdrawDelayS,
        bytes32 salt,
        Permit calldata permit
    ) external nonReentrant returns (bytes32 channelId) {
        _tryPermit(token, deposit, permit);
        return _open(payee, token, deposit, withdrawDelayS, salt);
    }

    /// Pays the payee up to the cumulative amount. Anyone may bring the voucher: only the payee is paid.
    function claim(bytes32 channelId, uint128 amount, bytes calldata signature) external nonReentrant {
        Channel storage channel = _live(channelId);
        if (amount <= channel.claimed) revert NothingNew();
        _pay(channelId, channel.token, channel.payee, _take(channelId, channel, amount, signature));
    }

    /// The payee takes the last voucher (an amount not above what was claimed needs none) and returns the rest.
    function close(bytes32 channelId, uint128 amount, bytes calldata signature) external nonReentrant {
        Channel storage channel = _live(channelId);
        if (msg.sender != channel.payee) revert NotYours();
        uint128 due = amount > channel.claimed ? _take(channelId, channel, amount, signature) : 0;
        _close(channelId, channel, due);
    }

    /// The payer announces that it takes back what is not claimed. Announcing twice does not move the date.
    function startWithdraw(bytes32 channelId) external nonReentrant {
        Channel storage channel = _live(channelId);
        if (msg.sender != channel.payer) revert NotYours();
        if (channel.withdrawAt != 0) revert NothingNew();
        channel.withdrawAt = uint64(block.timestamp) + channel.withdrawDelayS;
        emit WithdrawStarted(channelId, channel.payer, channel.payee, channel.withdrawAt);
    }

    /// Anyone may return the rest to the payer once the announced date has passed.
    function withdraw(bytes32 channelId) external nonReentrant {
        Channel storage channel = _live(channelId);
        if (channel.withdrawAt == 0 || block.timestamp <= channel.withdrawAt) revert TooEarly();
        _close(channelId, channel, 0);
    }

    /// The EIP-712 digest that the payer signs.
    function voucherDigest(bytes32 channelId, uint128 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, amount)));
    }

    function _open(address payee, address token, uint128 deposit, uint32 withdrawDelayS, bytes32 salt)
        private
        returns (bytes32 channelId)
    {
        bool parties = payee != address(0) && payee != msg.sender && payee != address(this);
        bool delay = withdrawDelayS >= MIN_DELAY_S && withdrawDelayS <= MAX_DELAY_S;
        if (!parties || !delay || deposit == 0) revert BadTerms();
        channelId = idOf(msg.sender, payee, token, withdrawDelayS, salt);
        if (channels[channelId].payer != address(0)) revert AlreadyOpen();
        channels[channelId] = Channel({
            payer: msg.sender,
            withdrawDelayS: withdrawDelayS,
            withdrawAt: 0,
            payee: payee,
            closed: false,
            token: token,
            deposit: deposit,
            claimed: 0
        });
        emit Opened(channelId, msg.sender, payee, token, deposit, withdrawDelayS, salt);
        _pull(token, deposit);
    }

    function _take(bytes32 channelId, Channel storage channel, uint128 amount, bytes calldata signature)
        private
        returns (uint128 due)
    {
        if (amount > channel.deposit) revert AboveDeposit();
        address payer = channel.payer;
        if (!SignatureChecker.isValidSignatureNow(payer, voucherDigest(channelId, amount), signature)) {
            revert BadSignature();
        }
        due = amount - channel.claimed;
        channel.claimed = amount;
        emit Claimed(channelId, payer, channel.payee, amount);
    }

    function _close(bytes32 channelId, Channel storage channel, uint128 due) private {
        channel.closed = true;
        uint128 rest = channel.deposit - channel.claimed;
        emit Closed(channelId, channel.payer, channel.payee, channel.claimed, rest);
        _pay(channelId, channel.token, channel.payee, due);
        _pay(channelId, channel.token, channel.payer, rest);
    }

    function _live(bytes32 channelId) private view returns (Channel storage channel) {
        channel = channels[channelId];
        if (channel.payer == address(0) || channel.closed) revert NotOpen();
    }
}
