// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The play money of a group: every address may claim a first allowance once.
/// @notice It has no value and no owner. A public chain uses a real ERC-20 in its place.
contract Credit is ERC20, ERC20Permit {
    /// One thousand credits, in millionths.
    uint256 public constant ALLOWANCE = 1_000_000_000;

    mapping(address holder => bool) public claimed;

    error AlreadyClaimed();

    constructor() ERC20("Openstall Credit", "CREDIT") ERC20Permit("Openstall Credit") {}

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function claim() external {
        if (claimed[msg.sender]) revert AlreadyClaimed();
        claimed[msg.sender] = true;
        _mint(msg.sender, ALLOWANCE);
    }
}
