// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ModelRules, RulesCheck} from "./ModelRules.sol";
import {Panel} from "./Panel.sol";
import {Till} from "./Till.sol";

/// @title Holds the price of a model made to order until evaluators have measured it and its key was handed over.
/// @notice An order is named by who paid, the buyer, and the hash of the request, so nobody can occupy another's.
/// There is no owner, no upgrade and no pause. Each state that holds money has a deadline after which anyone may
/// make the payment that is then due:
///
///   Funded     -> refund        after deliverBy                                   all to the buyer
///   Submitted  -> refund        after submission + evaluateS + reviewS            all to the buyer
///   Failed     -> refund        after the verdict + reviewS, when nothing is left to try
///   Passed     -> refund        after the verdict + reviewS without the key       all to the buyer
///   HandedOver -> claim         after the hand-over + reviewS                     all to the seller
///   Disputed   -> settleSilent  after the dispute + arbiterS                      half each
///
/// Where evaluators stay silent the model was never handed over, so the money goes back. Either party may call
/// the arbiter first. An order without an arbiter (address zero) knows no dispute.
contract ModelEscrow is Till, EIP712 {
    using RulesCheck for ModelRules;

    enum State {
        None,
        Funded,
        Submitted,
        Passed,
        Failed,
        HandedOver,
        Disputed,
        Completed,
        Refunded,
        Ruled
    }

    struct Terms {
        address seller;
        address token;
        uint128 amount;
        ModelRules rules;
    }

    struct Order {
        address buyer;
        uint64 since;
        State state;
        uint8 attempt;
        uint8 tries;
        uint8 quorum;
        address seller;
        uint64 deliverBy;
        uint32 evaluateS;
        address arbiter;
        uint32 reviewS;
        uint32 arbiterS;
        uint16 arbiterFeeBps;
        address token;
        uint128 amount;
        bytes32 modelHash;
        address[] evaluators;
    }

    bytes32 public constant ASSESSMENT_TYPEHASH =
        keccak256("Assessment(bytes32 key,bytes32 modelHash,uint8 attempt,bool passed,bytes32 reportHash)");
    uint256 public constant MAX_SEALED_KEY = 256;
    uint16 private constant ALL_BPS = 10_000;

    mapping(bytes32 key => Order) private _orders;

    event Funded(
        bytes32 indexed key,
        address indexed buyer,
        address indexed seller,
        address payer,
        bytes32 requestHash,
        address token,
        uint128 amount
    );
    event Submitted(
        bytes32 indexed key, address indexed buyer, address indexed seller, uint8 attempt, bytes32 modelHash
    );
    event Assessed(
        bytes32 indexed key,
        address indexed buyer,
        address indexed seller,
        uint8 attempt,
        bool passed,
        uint8[] places,
        bytes32[] reportHashes
    );
    event HandedOver(bytes32 indexed key, address indexed buyer, address indexed seller, bytes sealedKey);
    event Disputed(bytes32 indexed key, address indexed by, address indexed arbiter, bytes32 evidenceHash);
    event Settled(
        bytes32 indexed key, address indexed buyer, address indexed seller, State state, uint128 toBuyer
    );

    error BadTerms();
    error WrongState();
    error NotYours();
    error TooEarly();
    error TooLate();
    error BadDelivery();
    error NoTriesLeft();

    constructor() EIP712("Openstall ModelEscrow", "1") {}

    function keyOf(address payer, address buyer, bytes32 requestHash) public pure returns (bytes32) {
        return keccak256(abi.encode(payer, buyer, requestHash));
    }

    /// The buyer pays in, with an ERC-2612 allowance signed for exactly this amount (or one that is there).
    function fundWithPermit(bytes32 requestHash, Terms calldata terms, Permit calldata permit)
        external
        nonReentrant
        returns (bytes32 key)
    {
        _tryPermit(terms.token, terms.amount, permit);
        return _fund(msg.sender, requestHash, terms);
    }

    /// Anyone pays in for a buyer, as the auction does. The order bears the payer's name, so this blocks no other.
    function fundFor(address buyer, bytes32 requestHash, Terms calldata terms)
        external
        nonReentrant
        returns (bytes32 key)
    {
        return _fund(buyer, requestHash, terms);
    }

    /// The seller says which model it delivers; after a failure again, as long as tries and time are left.
    function submit(bytes32 key, bytes32 modelHash) external nonReentrant {
        Order storage order = _orders[key];
        if (order.state != State.Funded && order.state != State.Failed) revert WrongState();
        if (msg.sender != order.seller) revert NotYours();
        if (block.timestamp > order.deliverBy) revert TooLate();
        if (order.attempt == order.tries) revert NoTriesLeft();
        if (modelHash == bytes32(0)) revert BadDelivery();
        order.attempt += 1;
        order.modelHash = modelHash;
        _enter(order, State.Submitted);
        emit Submitted(key, order.buyer, order.seller, order.attempt, modelHash);
    }

    /// Anyone brings the evaluators' signatures on one verdict; each signs its own report of this very attempt.
    function assess(
        bytes32 key,
        bool passed,
        uint8[] calldata places,
        bytes32[] calldata reportHashes,
        bytes[] calldata signatures
    ) external nonReentrant {
        Order storage order = _inState(key, State.Submitted);
        if (reportHashes.length != signatures.length) revert Panel.NotSigned();
        Panel.checkPlaces(order.evaluators, order.quorum, places, signatures.length);
        for (uint256 i = 0; i < places.length; i++) {
            bytes32 digest = assessmentDigest(key, order.modelHash, order.attempt, passed, reportHashes[i]);
            Panel.checkSigned(order.evaluators, places[i], digest, signatures[i]);
        }
        _enter(order, passed ? State.Passed : State.Failed);
        emit Assessed(key, order.buyer, order.seller, order.attempt, passed, places, reportHashes);
    }

    /// The seller hands over the sealed key through the chain, so it cannot keep the key and be paid. In a dispute
    /// it may do so too: then the arbiter knows that the buyer has it.
    function handOver(bytes32 key, bytes calldata sealedKey) external nonReentrant {
        Order storage order = _orders[key];
        if (order.state != State.Passed && order.state != State.Disputed) revert WrongState();
        if (msg.sender != order.seller) revert NotYours();
        if (sealedKey.length == 0 || sealedKey.length > MAX_SEALED_KEY) revert BadDelivery();
        if (order.state == State.Passed) {
            if (block.timestamp > uint256(order.since) + order.reviewS) revert TooLate();
            _enter(order, State.HandedOver);
        }
        emit HandedOver(key, order.buyer, order.seller, sealedKey);
    }

    /// The buyer accepts, also after having disputed.
    function complete(bytes32 key) external nonReentrant {
        Order storage order = _orders[key];
        if (order.state != State.HandedOver && order.state != State.Disputed) revert WrongState();
        if (msg.sender != order.buyer) revert NotYours();
        _settle(key, order, State.Completed, 0, 0);
    }

    /// Anyone may pay the seller once the review time is over without a dispute.
    function claim(bytes32 key) external nonReentrant {
        Order storage order = _inState(key, State.HandedOver);
        if (block.timestamp <= uint256(order.since) + order.reviewS) revert TooEarly();
        _settle(key, order, State.Completed, 0, 0);
    }

    /// Anyone may give the money back once the state's deadline has passed without a model handed over.
    function refund(bytes32 key) external nonReentrant {
        Order storage order = _orders[key];
        if (block.timestamp <= _refundableAfter(order)) revert TooEarly();
        _settle(key, order, State.Refunded, order.amount, 0);
    }

    /// The seller gives all the money back, at any time before the end.
    function cancel(bytes32 key) external nonReentrant {
        Order storage order = _orders[key];
        if (order.state == State.None || order.state >= State.Completed) revert WrongState();
        if (msg.sender != order.seller) revert NotYours();
        _settle(key, order, State.Refunded, order.amount, 0);
    }

    /// The buyer calls the arbiter over what was handed over, the seller over a verdict, either over silence.
    function dispute(bytes32 key, bytes32 evidenceHash) external nonReentrant {
        Order storage order = _orders[key];
        (bool buyerMay, bool sellerMay) = (
            order.state == State.HandedOver || order.state == State.Submitted,
            order.state == State.Failed || order.state == State.Submitted
        );
        if (!buyerMay && !sellerMay) revert WrongState();
        if (!(buyerMay && msg.sender == order.buyer) && !(sellerMay && msg.sender == order.seller)) revert NotYours();
        if (order.arbiter == address(0)) revert BadTerms();
        uint256 opens = order.since;
        if (order.state == State.Submitted) {
            opens += order.evaluateS;
            if (block.timestamp <= opens) revert TooEarly();
        }
        if (block.timestamp > opens + order.reviewS) revert TooLate();
        _enter(order, State.Disputed);
        emit Disputed(key, msg.sender, order.arbiter, evidenceHash);
    }

    /// The arbiter takes its fee and splits the rest.
    function rule(bytes32 key, uint16 buyerBps) external nonReentrant {
        Order storage order = _inState(key, State.Disputed);
        if (msg.sender != order.arbiter) revert NotYours();
        if (buyerBps > ALL_BPS) revert BadTerms();
        if (block.timestamp > uint256(order.since) + order.arbiterS) revert TooLate();
        uint128 fee = _share(order.amount, order.arbiterFeeBps);
        _settle(key, order, State.Ruled, _share(order.amount - fee, buyerBps), fee);
    }

    /// Anyone may halve the money when the arbiter stayed silent: a constant, so that no party can set it.
    function settleSilent(bytes32 key) external nonReentrant {
        Order storage order = _inState(key, State.Disputed);
        if (block.timestamp <= uint256(order.since) + order.arbiterS) revert TooEarly();
        _settle(key, order, State.Ruled, order.amount / 2, 0);
    }

    /// The EIP-712 digest that an evaluator signs.
    function assessmentDigest(bytes32 key, bytes32 modelHash, uint8 attempt, bool passed, bytes32 reportHash)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(ASSESSMENT_TYPEHASH, key, modelHash, attempt, passed, reportHash))
        );
    }

    function orders(bytes32 key) external view returns (Order memory order) {
        return _orders[key];
    }

    function _fund(address buyer, bytes32 requestHash, Terms calldata terms) private returns (bytes32 key) {
        ModelRules calldata rules = terms.rules;
        bool seller = terms.seller != address(0) && terms.seller != buyer && terms.seller != address(this)
            && terms.seller != rules.arbiter && !Panel.has(rules.evaluators, terms.seller);
        bool fit = rules.isFit(buyer, address(this));
        if (!seller || !fit || terms.amount == 0 || buyer == address(0) || buyer == address(this)) revert BadTerms();
        key = keyOf(msg.sender, buyer, requestHash);
        Order storage order = _orders[key];
        if (order.state != State.None) revert WrongState();
        order.buyer = buyer;
        order.tries = rules.tries;
        order.quorum = rules.quorum;
        order.seller = terms.seller;
        order.deliverBy = rules.deliverBy;
        order.evaluateS = rules.evaluateS;
        order.arbiter = rules.arbiter;
        order.reviewS = rules.reviewS;
        order.arbiterS = rules.arbiterS;
        order.arbiterFeeBps = rules.arbiterFeeBps;
        order.token = terms.token;
        order.amount = terms.amount;
        order.evaluators = rules.evaluators;
        _enter(order, State.Funded);
        emit Funded(key, buyer, terms.seller, msg.sender, requestHash, terms.token, terms.amount);
        _pull(terms.token, terms.amount);
    }

    function _refundableAfter(Order storage order) private view returns (uint256) {
        State state = order.state;
        if (state == State.Funded) return order.deliverBy;
        uint256 reviewed = uint256(order.since) + order.reviewS;
        if (state == State.Passed) return reviewed;
        if (state == State.Submitted) return reviewed + order.evaluateS;
        if (state != State.Failed) revert WrongState();
        bool canTry = order.attempt < order.tries && order.deliverBy > reviewed;
        return canTry ? order.deliverBy : reviewed;
    }

    function _enter(Order storage order, State state) private {
        order.state = state;
        order.since = uint64(block.timestamp);
    }

    /// The only way out of a state that holds money: toBuyer + fee + rest to the seller is always the amount.
    function _settle(bytes32 key, Order storage order, State state, uint128 toBuyer, uint128 fee) private {
        _enter(order, state);
        (address token, uint128 amount) = (order.token, order.amount);
        emit Settled(key, order.buyer, order.seller, state, toBuyer);
        _pay(key, token, order.buyer, toBuyer);
        _pay(key, token, order.arbiter, fee);
        _pay(key, token, order.seller, amount - toBuyer - fee);
    }

    function _inState(bytes32 key, State state) private view returns (Order storage order) {
        order = _orders[key];
        if (order.state != state) revert WrongState();
    }

    function _share(uint128 amount, uint16 bps) private pure returns (uint128) {
        return uint128((uint256(amount) * bps) / ALL_BPS);
    }
}
