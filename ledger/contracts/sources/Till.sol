// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

/// @title Money in and money out, shared by the two contracts that hold other people's tokens.
/// @notice Plain ERC-20 only. A token that takes a fee on transfer is refused when the money comes in.
/// Tokens whose balances change by themselves (rebasing) are not supported: do not use them.
abstract contract Till is ReentrancyGuard {
    using SafeERC20 for IERC20;

    struct Permit {
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// What a token refused to push to an address; that address takes it with `collect`.
    mapping(address token => mapping(address owner => uint256)) public uncollected;

    event Paid(bytes32 indexed key, address indexed to, address indexed token, uint256 amount, bool pushed);
    event Collected(address indexed owner, address indexed token, uint256 amount);

    error FeeOnTransfer();
    error NothingToCollect();

    /// Take out money that could not be pushed when it was due (for example a token that had blocked the receiver).
    function collect(address token) external nonReentrant {
        uint256 amount = uncollected[token][msg.sender];
        if (amount == 0) revert NothingToCollect();
        uncollected[token][msg.sender] = 0;
        emit Collected(msg.sender, token, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    /// Uses a signed allowance. A failure is ignored on purpose: a bystander may have used the same
    /// signature a moment before, and then the allowance is already there; if not, the pull fails.
    function _tryPermit(address token, uint256 amount, Permit calldata permit) internal {
        try
            IERC20Permit(token).permit(
                msg.sender, address(this), amount, permit.deadline, permit.v, permit.r, permit.s
            )
        {} catch {}
    }

    function _pull(address token, uint256 amount) internal {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        if (IERC20(token).balanceOf(address(this)) != before + amount) revert FeeOnTransfer();
    }

    /// Never reverts for a token that answers false or reverts: one blocked receiver must not hold up the other.
    function _pay(bytes32 key, address token, address to, uint256 amount) internal {
        if (amount == 0) return;
        bool pushed = IERC20(token).trySafeTransfer(to, amount);
        if (!pushed) uncollected[token][to] += amount;
        emit Paid(key, to, token, amount, pushed);
    }
}
