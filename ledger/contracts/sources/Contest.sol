// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Panel} from "./Panel.sol";
import {Till} from "./Till.sol";

/// @title Prizes for the best of many models, paid by a ranking that the evaluators of the contest signed.
/// @notice The requester pays the whole pool in when it opens. Every entry has the same deposit. The evaluators sign
/// the root of a tree of (contest, entrant, prize), once; who has a prize takes it by handing over its model's key.
/// Who won and does not hand over can be made to lose the deposit, which then belongs to nobody: nobody gains by a
/// verdict. Every other deposit goes back. There is no owner. Each state has an exit that anyone can take:
///
///   Open   -> close     after judgeBy + reviewS          the pool to the requester, to Void
///   Judged -> close     after the verdict + 2 reviewS    what was not claimed to the requester, to Closed
///   a deposit -> withdraw  in Void or Closed              to its entrant
contract Contest is Till, EIP712 {
    enum State {
        None,
        Open,
        Judged,
        Void,
        Closed
    }

    struct Terms {
        address token;
        uint128 pool;
        uint128 deposit;
        uint64 entryBy;
        uint64 judgeBy;
        uint32 reviewS;
        uint8 quorum;
        address[] evaluators;
        uint16[] weightsBps;
    }

    struct Competition {
        address requester;
        uint64 entryBy;
        uint32 reviewS;
        address token;
        uint64 judgeBy;
        uint8 quorum;
        State state;
        uint128 pool;
        uint128 deposit;
        uint128 total;
        uint128 claimed;
        uint64 since;
        uint32 entries;
        bytes32 root;
        address[] evaluators;
    }

    bytes32 public constant RANKING_TYPEHASH = keccak256("Ranking(bytes32 id,bytes32 root,uint128 total)");
    uint256 public constant MAX_SEALED_KEY = 256;
    uint256 public constant MAX_PRIZES = 64;
    uint64 public constant MAX_LIFE_S = 365 days;
    uint32 public constant MIN_WINDOW_S = 60;
    uint32 public constant MAX_WINDOW_S = 90 days;
    uint16 private constant ALL_BPS = 10_000;
    /// Where a lost deposit goes: no key opens this address.
    address public constant SINK = 0x000000000000000000000000000000000000dEaD;
    /// What stands in the place of a model's hash once the entry is over, or where the address cannot enter.
    bytes32 public constant OVER = bytes32(uint256(1));
    bytes32 public constant BARRED = bytes32(uint256(2));

    mapping(bytes32 id => Competition) private _competitions;
    mapping(bytes32 id => mapping(address entrant => bytes32)) public entries;

    event Opened(bytes32 indexed id, address indexed requester, bytes32 requestHash, Terms terms);
    event Entered(bytes32 indexed id, address indexed entrant, bytes32 modelHash);
    event Judged(bytes32 indexed id, address indexed requester, bytes32 root, uint128 total);
    event Claimed(
        bytes32 indexed id, address indexed requester, address indexed entrant, uint128 amount, bytes sealedKey
    );
    event Forfeited(bytes32 indexed id, address indexed entrant, uint128 prize);
    event Closed(bytes32 indexed id, address indexed requester, State state, uint128 returned);

    error BadTerms();
    error WrongState();
    error NotYours();
    error TooEarly();
    error TooLate();
    error NotAnEntrant();
    error AlreadyEntered();
    error BadDelivery();
    error NotInRanking();
    error AbovePool();
    error NothingNew();

    constructor() EIP712("Openstall Contest", "1") {}

    function idOf(address requester, bytes32 requestHash) public pure returns (bytes32) {
        return keccak256(abi.encode(requester, requestHash));
    }

    /// The requester pays in the pool. `weightsBps` are the shares of the places; none: in proportion to quality.
    function open(bytes32 requestHash, Terms calldata terms, Permit calldata permit)
        external
        nonReentrant
        returns (bytes32 id)
    {
        _checkTerms(terms);
        id = idOf(msg.sender, requestHash);
        Competition storage found = _competitions[id];
        if (found.state != State.None) revert WrongState();
        found.requester = msg.sender;
        found.entryBy = terms.entryBy;
        found.reviewS = terms.reviewS;
        found.token = terms.token;
        found.judgeBy = terms.judgeBy;
        found.quorum = terms.quorum;
        found.pool = terms.pool;
        found.deposit = terms.deposit;
        found.evaluators = terms.evaluators;
        _enter(found, State.Open);
        for (uint256 i = 0; i < terms.evaluators.length; i++) {
            entries[id][terms.evaluators[i]] = BARRED;
        }
        emit Opened(id, msg.sender, requestHash, terms);
        _tryPermit(terms.token, terms.pool, permit);
        _pull(terms.token, terms.pool);
    }

    /// One entry for each address, with the deposit.
    function enter(bytes32 id, bytes32 modelHash, Permit calldata permit) external nonReentrant {
        Competition storage found = _inState(id, State.Open);
        if (block.timestamp > found.entryBy) revert TooLate();
        bytes32 before = entries[id][msg.sender];
        if (before == BARRED || msg.sender == found.requester) revert NotAnEntrant();
        if (before != bytes32(0)) revert AlreadyEntered();
        if (uint256(modelHash) <= uint256(BARRED)) revert BadDelivery();
        entries[id][msg.sender] = modelHash;
        found.entries += 1;
        emit Entered(id, msg.sender, modelHash);
        (address token, uint128 deposit) = (found.token, found.deposit);
        _tryPermit(token, deposit, permit);
        _pull(token, deposit);
    }

    /// Anyone brings the evaluators' signatures on the root of the prizes and their sum.
    function judge(bytes32 id, bytes32 root, uint128 total, uint8[] calldata places, bytes[] calldata signatures)
        external
        nonReentrant
    {
        Competition storage found = _inState(id, State.Open);
        if (block.timestamp <= found.entryBy) revert TooEarly();
        if (block.timestamp > uint256(found.judgeBy) + found.reviewS) revert TooLate();
        if (total > found.pool) revert AbovePool();
        Panel.checkPlaces(found.evaluators, found.quorum, places, signatures.length);
        bytes32 digest = rankingDigest(id, root, total);
        for (uint256 i = 0; i < places.length; i++) {
            Panel.checkSigned(found.evaluators, places[i], digest, signatures[i]);
        }
        found.root = root;
        found.total = total;
        _enter(found, State.Judged);
        emit Judged(id, found.requester, root, total);
    }

    /// An entrant hands over its model's key and takes its prize and its deposit. Without a prize it needs no key.
    function claim(bytes32 id, uint128 amount, bytes32[] calldata proof, bytes calldata sealedKey)
        external
        nonReentrant
    {
        Competition storage found = _inState(id, State.Judged);
        if (block.timestamp > uint256(found.since) + found.reviewS) revert TooLate();
        if (amount > 0 && sealedKey.length == 0 || sealedKey.length > MAX_SEALED_KEY) revert BadDelivery();
        _end(id, found, msg.sender, amount, proof);
        if (amount > found.total - found.claimed) revert AbovePool();
        found.claimed += amount;
        emit Claimed(id, found.requester, msg.sender, amount, sealedKey);
        _pay(id, found.token, msg.sender, uint256(amount) + found.deposit);
    }

    /// Anyone may show that an entrant had a prize and did not hand over its model: its deposit is lost.
    function forfeit(bytes32 id, address entrant, uint128 amount, bytes32[] calldata proof) external nonReentrant {
        Competition storage found = _inState(id, State.Judged);
        if (block.timestamp <= uint256(found.since) + found.reviewS) revert TooEarly();
        if (amount == 0) revert NotInRanking();
        _end(id, found, entrant, amount, proof);
        emit Forfeited(id, entrant, amount);
        _pay(id, found.token, SINK, found.deposit);
    }

    /// Anyone may give the requester what was not claimed, or the whole pool where the evaluators stayed silent.
    function close(bytes32 id) external nonReentrant {
        Competition storage found = _competitions[id];
        bool judged = found.state == State.Judged;
        if (!judged && found.state != State.Open) revert WrongState();
        uint256 review = found.reviewS;
        if (block.timestamp <= (judged ? found.since + 2 * review : found.judgeBy + review)) revert TooEarly();
        _enter(found, judged ? State.Closed : State.Void);
        uint128 rest = found.pool - found.claimed;
        emit Closed(id, found.requester, found.state, rest);
        _pay(id, found.token, found.requester, rest);
    }

    /// Anyone may send a deposit back to its entrant once the contest is over.
    function withdraw(bytes32 id, address entrant) external nonReentrant {
        Competition storage found = _competitions[id];
        if (found.state != State.Void && found.state != State.Closed) revert WrongState();
        _live(id, entrant);
        entries[id][entrant] = OVER;
        _pay(id, found.token, entrant, found.deposit);
    }

    /// The EIP-712 digest that an evaluator signs.
    function rankingDigest(bytes32 id, bytes32 root, uint128 total) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RANKING_TYPEHASH, id, root, total)));
    }

    /// A leaf of the tree of prizes, hashed twice so that no inner node can pass for one.
    function leafOf(bytes32 id, address entrant, uint128 amount) public pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(id, entrant, amount))));
    }

    function competitions(bytes32 id) external view returns (Competition memory found) {
        return _competitions[id];
    }

    function _end(
        bytes32 id,
        Competition storage found,
        address entrant,
        uint128 amount,
        bytes32[] calldata proof
    ) private {
        _live(id, entrant);
        if (!MerkleProof.verifyCalldata(proof, found.root, leafOf(id, entrant, amount))) revert NotInRanking();
        entries[id][entrant] = OVER;
    }

    function _enter(Competition storage found, State state) private {
        found.state = state;
        found.since = uint64(block.timestamp);
    }

    function _checkTerms(Terms calldata terms) private view {
        bool times = terms.entryBy > block.timestamp && terms.judgeBy >= uint256(terms.entryBy) + MIN_WINDOW_S
            && terms.judgeBy <= block.timestamp + MAX_LIFE_S && terms.reviewS >= MIN_WINDOW_S
            && terms.reviewS <= MAX_WINDOW_S;
        bool money = terms.pool > 0 && terms.deposit > 0 && terms.weightsBps.length <= MAX_PRIZES;
        if (!times || !money || !Panel.isFit(terms.evaluators, terms.quorum, address(this))) revert BadTerms();
        uint256 sum = 0;
        for (uint256 i = 0; i < terms.weightsBps.length; i++) {
            bool falls = i == 0 || terms.weightsBps[i] <= terms.weightsBps[i - 1];
            if (terms.weightsBps[i] == 0 || !falls) revert BadTerms();
            sum += terms.weightsBps[i];
        }
        if (sum > ALL_BPS) revert BadTerms();
    }

    function _live(bytes32 id, address entrant) private view {
        bytes32 entry = entries[id][entrant];
        if (entry == bytes32(0) || entry == OVER || entry == BARRED) revert NothingNew();
    }

    function _inState(bytes32 id, State state) private view returns (Competition storage found) {
        found = _competitions[id];
        if (found.state != state) revert WrongState();
    }
}
