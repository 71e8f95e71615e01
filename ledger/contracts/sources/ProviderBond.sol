// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Till} from "./Till.sol";

/// @title Money of a provider that is lost when enough of the oracles it named say that its machine is not
/// what it claims.
/// @notice The provider names the oracles, the quorum and the delay when it posts the bond, and nothing of that
/// ever changes. A case is paid once, to the beneficiary that the oracles signed for, and only after `quorum`
/// of them have signed the very same sentence. Nobody of the bond can be its beneficiary. The provider gets out
/// alone: it announces, waits `unlockDelayS`, and then anyone may send the rest back to it. There is no owner.
///
///   Posted -> announce -> withdraw     after the announcement + unlockDelayS     the rest to the provider
///   Posted -> slash                    with `quorum` signatures, until withdrawn  the amount to the beneficiary
contract ProviderBond is Till, EIP712 {
    struct Bond {
        address provider;
        uint32 unlockDelayS;
        uint64 unlockAt;
        address token;
        uint8 quorum;
        bool closed;
        uint128 left;
        address[] oracles;
    }

    bytes32 public constant SLASH_TYPEHASH =
        keccak256("Slash(bytes32 bondId,bytes32 caseHash,address beneficiary,uint128 amount)");
    uint32 public constant MIN_DELAY_S = 60;
    uint32 public constant MAX_DELAY_S = 90 days;
    uint256 public constant MAX_ORACLES = 16;
    /// Where the money goes when no buyer was wronged: no key opens this address.
    address public constant SINK = 0x000000000000000000000000000000000000dEaD;

    mapping(bytes32 bondId => Bond) private _bonds;
    mapping(bytes32 bondId => mapping(bytes32 caseHash => bool)) public settled;

    event Posted(
        bytes32 indexed bondId, address indexed provider, address token, uint128 amount, uint8 quorum, uint32 unlockDelayS
    );
    event Announced(bytes32 indexed bondId, address indexed provider, uint64 unlockAt);
    event Slashed(
        bytes32 indexed bondId,
        address indexed provider,
        address indexed beneficiary,
        bytes32 caseHash,
        uint128 amount,
        uint128 left
    );
    event Withdrawn(bytes32 indexed bondId, address indexed provider, uint128 returned);

    error BadTerms();
    error AlreadyPosted();
    error NotPosted();
    error NotYours();
    error TooEarly();
    error NothingNew();
    error AboveBond();
    error NotSigned();
    error BadBeneficiary();

    constructor() EIP712("Openstall ProviderBond", "1") {}

    /// The identity of a bond; it commits to every term but the amount.
    function idOf(
        address provider,
        address token,
        address[] calldata oracles,
        uint8 quorum,
        uint32 unlockDelayS,
        bytes32 salt
    ) public view returns (bytes32) {
        return keccak256(
            abi.encode(block.chainid, address(this), provider, token, keccak256(abi.encode(oracles)), quorum, unlockDelayS, salt)
        );
    }

    /// The provider pays in, with an ERC-2612 allowance signed for exactly this amount (or one that is there).
    /// The oracles come in ascending order, so that no one is named twice.
    function post(
        address token,
        uint128 amount,
        address[] calldata oracles,
        uint8 quorum,
        uint32 unlockDelayS,
        bytes32 salt,
        Permit calldata permit
    ) external nonReentrant returns (bytes32 bondId) {
        _checkOracles(oracles, quorum);
        if (amount == 0 || unlockDelayS < MIN_DELAY_S || unlockDelayS > MAX_DELAY_S) revert BadTerms();
        bondId = idOf(msg.sender, token, oracles, quorum, unlockDelayS, salt);
        Bond storage bond = _bonds[bondId];
        if (bond.provider != address(0)) revert AlreadyPosted();
        bond.provider = msg.sender;
        bond.unlockDelayS = unlockDelayS;
        bond.token = token;
        bond.quorum = quorum;
        bond.left = amount;
        bond.oracles = oracles;
        emit Posted(bondId, msg.sender, token, amount, quorum, unlockDelayS);
        _tryPermit(token, amount, permit);
        _pull(token, amount);
    }

    /// The provider announces that it takes back what is left. Announcing twice does not move the date.
    function announce(bytes32 bondId) external nonReentrant {
        Bond storage bond = _live(bondId);
        if (msg.sender != bond.provider) revert NotYours();
        if (bond.unlockAt != 0) revert NothingNew();
        bond.unlockAt = uint64(block.timestamp) + bond.unlockDelayS;
        emit Announced(bondId, bond.provider, bond.unlockAt);
    }

    /// Anyone may send the rest back to the provider once the announced date has passed.
    function withdraw(bytes32 bondId) external nonReentrant {
        Bond storage bond = _live(bondId);
        if (bond.unlockAt == 0 || block.timestamp <= bond.unlockAt) revert TooEarly();
        uint128 rest = bond.left;
        bond.left = 0;
        bond.closed = true;
        emit Withdrawn(bondId, bond.provider, rest);
        _pay(bondId, bond.token, bond.provider, rest);
    }

    /// Anyone may bring the signatures; `places` are the signers' places among the oracles, ascending.
    function slash(
        bytes32 bondId,
        bytes32 caseHash,
        address beneficiary,
        uint128 amount,
        uint8[] calldata places,
        bytes[] calldata signatures
    ) external nonReentrant {
        Bond storage bond = _live(bondId);
        if (settled[bondId][caseHash]) revert NothingNew();
        if (amount == 0 || amount > bond.left) revert AboveBond();
        _checkBeneficiary(bond, beneficiary);
        _checkSignatures(bond, slashDigest(bondId, caseHash, beneficiary, amount), places, signatures);
        settled[bondId][caseHash] = true;
        bond.left -= amount;
        bond.closed = bond.left == 0;
        emit Slashed(bondId, bond.provider, beneficiary, caseHash, amount, bond.left);
        _pay(bondId, bond.token, beneficiary, amount);
    }

    /// The EIP-712 digest that an oracle signs.
    function slashDigest(bytes32 bondId, bytes32 caseHash, address beneficiary, uint128 amount)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(SLASH_TYPEHASH, bondId, caseHash, beneficiary, amount)));
    }

    function bonds(bytes32 bondId)
        external
        view
        returns (
            address provider,
            address token,
            uint8 quorum,
            uint32 unlockDelayS,
            uint64 unlockAt,
            bool closed,
            uint128 left,
            address[] memory oracles
        )
    {
        Bond storage bond = _bonds[bondId];
        return (
            bond.provider, bond.token, bond.quorum, bond.unlockDelayS, bond.unlockAt, bond.closed, bond.left, bond.oracles
        );
    }

    function _checkOracles(address[] calldata oracles, uint8 quorum) private view {
        if (oracles.length == 0 || oracles.length > MAX_ORACLES) revert BadTerms();
        // More than half: two halves must not be able to say two things of one case.
        if (quorum > oracles.length || uint256(quorum) * 2 <= oracles.length) revert BadTerms();
        address before = address(0);
        for (uint256 i = 0; i < oracles.length; i++) {
            address oracle = oracles[i];
            if (oracle <= before || oracle == msg.sender || oracle == address(this) || oracle == SINK) revert BadTerms();
            before = oracle;
        }
    }

    function _checkBeneficiary(Bond storage bond, address beneficiary) private view {
        if (beneficiary == address(0) || beneficiary == address(this) || beneficiary == bond.provider) {
            revert BadBeneficiary();
        }
        for (uint256 i = 0; i < bond.oracles.length; i++) {
            if (beneficiary == bond.oracles[i]) revert BadBeneficiary();
        }
    }

    function _checkSignatures(Bond storage bond, bytes32 digest, uint8[] calldata places, bytes[] calldata signatures)
        private
        view
    {
        if (places.length != signatures.length || places.length < bond.quorum) revert NotSigned();
        for (uint256 i = 0; i < places.length; i++) {
            bool ascending = i == 0 || places[i] > places[i - 1];
            if (!ascending || places[i] >= bond.oracles.length) revert NotSigned();
            if (!SignatureChecker.isValidSignatureNow(bond.oracles[places[i]], digest, signatures[i])) {
                revert NotSigned();
            }
        }
    }

    function _live(bytes32 bondId) private view returns (Bond storage bond) {
        bond = _bonds[bondId];
        if (bond.provider == address(0) || bond.closed) revert NotPosted();
    }
}
