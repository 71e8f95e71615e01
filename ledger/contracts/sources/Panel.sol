// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title The evaluators of a request: who may be one, and whether one of them has signed.
library Panel {
    uint256 internal constant MAX_MEMBERS = 16;

    error NotSigned();

    /// In ascending order, so that no one is named twice, and with a quorum of more than half: two halves
    /// must not be able to say two things of one model.
    function isFit(address[] calldata members, uint8 quorum, address house) internal pure returns (bool) {
        if (members.length == 0 || members.length > MAX_MEMBERS) return false;
        if (quorum > members.length || uint256(quorum) * 2 <= members.length) return false;
        address before = address(0);
        for (uint256 i = 0; i < members.length; i++) {
            if (members[i] <= before || members[i] == house) return false;
            before = members[i];
        }
        return true;
    }

    function has(address[] calldata members, address who) internal pure returns (bool) {
        for (uint256 i = 0; i < members.length; i++) {
            if (members[i] == who) return true;
        }
        return false;
    }

    /// `places` are the signers' places among the members, ascending, so that no signature counts twice.
    function checkPlaces(address[] storage members, uint8 quorum, uint8[] calldata places, uint256 signatures)
        internal
        view
    {
        if (places.length != signatures || places.length < quorum) revert NotSigned();
        for (uint256 i = 0; i < places.length; i++) {
            bool ascending = i == 0 || places[i] > places[i - 1];
            if (!ascending || places[i] >= members.length) revert NotSigned();
        }
    }

    function checkSigned(address[] storage members, uint8 place, bytes32 digest, bytes calldata signature)
        internal
        view
    {
        if (!SignatureChecker.isValidSignatureNow(members[place], digest, signature)) revert NotSigned();
    }
}
