// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title A token for tests that does what no honest one does: it takes fees, blocks receivers, calls back.
contract HostileToken {
    mapping(address holder => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    mapping(address holder => bool) public blocked;
    uint256 public feeBps;
    address public target;
    bytes public call;
    uint256 public callsTried;
    uint256 public callsPassed;

    event Transfer(address indexed from, address indexed to, uint256 value);

    /// Answers whatever else it is asked, as an escrow that takes no money would.
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(uint256(1));
    }

    function nonces(address) external pure returns (uint256) {
        return 0;
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function setFee(uint256 bps) external {
        feeBps = bps;
    }

    function setBlocked(address holder, bool is_) external {
        blocked[holder] = is_;
    }

    /// From now on every transfer makes this call first.
    function setCall(address target_, bytes calldata call_) external {
        (target, call) = (target_, call_);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (blocked[to]) return false;
        if (target != address(0)) {
            callsTried += 1;
            (bool passed,) = target.call(call);
            if (passed) callsPassed += 1;
        }
        balanceOf[from] -= amount;
        balanceOf[to] += amount - (amount * feeBps) / 10_000;
        emit Transfer(from, to, amount);
        return true;
    }
}
