// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Till} from "./Till.sol";

/// @title Holds the money of one sale until delivery is accepted, refused or timed out.
/// @notice An order is named by its buyer and the hash of the document both parties signed, so nobody can
/// occupy another buyer's order. There is no owner, no upgrade and no pause. Each state that holds money
/// has a deadline after which anyone may make the payment that is then due:
///
///   Funded    -> refund        after deliverBy                 all to the buyer
///   Delivered -> claim         after delivery + reviewS        all to the seller
///   Disputed  -> settleSilent  after the dispute + arbiterS    silentBuyerBps to the buyer, rest to the seller
///
/// An order without an arbiter (address zero) knows no dispute: the review time then only delays payment.
contract OrderEscrow is Till {
    enum State {
        None,
        Funded,
        Delivered,
        Disputed,
        Completed,
        Refunded,
        Ruled
    }

    struct Terms {
        address seller;
        address arbiter;
        address token;
        uint128 amount;
        uint64 deliverBy;
        uint32 reviewS;
        uint32 arbiterS;
        uint16 arbiterFeeBps;
        uint16 silentBuyerBps;
    }

    struct Order {
        address buyer;
        uint64 since;
        State state;
        address seller;
        uint64 deliverBy;
        uint32 reviewS;
        address arbiter;
        uint32 arbiterS;
        uint16 arbiterFeeBps;
        uint16 silentBuyerBps;
        address token;
        uint128 amount;
    }

    uint256 public constant MAX_SEALED_KEY = 256;
    uint64 public constant MAX_DELIVERY_S = 365 days;
    uint32 public constant MIN_WINDOW_S = 60;
    uint32 public constant MAX_WINDOW_S = 90 days;
    uint16 public constant MAX_FEE_BPS = 1_000;
    uint16 private constant ALL_BPS = 10_000;

    mapping(bytes32 key => Order) public orders;

    event Funded(
        bytes32 indexed key, address indexed buyer, address indexed seller, bytes32 orderHash, address token, uint128 amount
    );
    event Delivered(bytes32 indexed key, address indexed buyer, address indexed seller, bytes sealedKey);
    event Disputed(bytes32 indexed key, address indexed buyer, address indexed arbiter, bytes32 evidenceHash);
    event Settled(bytes32 indexed key, address indexed buyer, address indexed seller, State state, uint128 toBuyer);

    error BadTerms();
    error WrongState();
    error NotYours();
    error TooEarly();
    error TooLate();
    error BadDelivery();

    function keyOf(address buyer, bytes32 orderHash) public pure returns (bytes32) {
        return keccak256(abi.encode(buyer, orderHash));
    }

    /// The buyer pays in. The allowance must be there already.
    function fund(bytes32 orderHash, Terms calldata terms) external nonReentrant returns (bytes32 key) {
        return _fund(orderHash, terms);
    }

    /// The buyer pays in, with an ERC-2612 allowance signed for exactly this amount.
    function fundWithPermit(bytes32 orderHash, Terms calldata terms, Permit calldata permit)
        external
        nonReentrant
        returns (bytes32 key)
    {
        _tryPermit(terms.token, terms.amount, permit);
        return _fund(orderHash, terms);
    }

    /// The seller hands over the sealed key through the chain, so it cannot keep the key and claim delivery.
    function deliver(bytes32 key, bytes calldata sealedKey) external nonReentrant {
        Order storage order = _inState(key, State.Funded);
        if (msg.sender != order.seller) revert NotYours();
        if (block.timestamp > order.deliverBy) revert TooLate();
        if (sealedKey.length == 0 || sealedKey.length > MAX_SEALED_KEY) revert BadDelivery();
        order.state = State.Delivered;
        order.since = uint64(block.timestamp);
        emit Delivered(key, order.buyer, order.seller, sealedKey);
    }

    /// The buyer accepts, also after having disputed.
    function complete(bytes32 key) external nonReentrant {
        Order storage order = orders[key];
        if (order.state != State.Delivered && order.state != State.Disputed) revert WrongState();
        if (msg.sender != order.buyer) revert NotYours();
        _settle(key, order, State.Completed, 0, 0);
    }

    /// Anyone may pay the seller once the review time is over without a dispute.
    function claim(bytes32 key) external nonReentrant {
        Order storage order = _inState(key, State.Delivered);
        if (block.timestamp <= uint256(order.since) + order.reviewS) revert TooEarly();
        _settle(key, order, State.Completed, 0, 0);
    }

    /// Anyone may give the money back once the delivery deadline has passed without delivery.
    function refund(bytes32 key) external nonReentrant {
        Order storage order = _inState(key, State.Funded);
        if (block.timestamp <= order.deliverBy) revert TooEarly();
        _settle(key, order, State.Refunded, order.amount, 0);
    }

    /// The seller gives all the money back, at any time before the end.
    function cancel(bytes32 key) external nonReentrant {
        Order storage order = orders[key];
        if (order.state != State.Funded && order.state != State.Delivered && order.state != State.Disputed) {
            revert WrongState();
        }
        if (msg.sender != order.seller) revert NotYours();
        _settle(key, order, State.Refunded, order.amount, 0);
    }

    /// The buyer calls the arbiter, inside the review time.
    function dispute(bytes32 key, bytes32 evidenceHash) external nonReentrant {
        Order storage order = _inState(key, State.Delivered);
        if (msg.sender != order.buyer) revert NotYours();
        if (order.arbiter == address(0)) revert BadTerms();
        if (block.timestamp > uint256(order.since) + order.reviewS) revert TooLate();
        order.state = State.Disputed;
        order.since = uint64(block.timestamp);
        emit Disputed(key, order.buyer, order.arbiter, evidenceHash);
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

    /// Anyone may split the money as agreed beforehand when the arbiter stayed silent. It gets no fee.
    function settleSilent(bytes32 key) external nonReentrant {
        Order storage order = _inState(key, State.Disputed);
        if (block.timestamp <= uint256(order.since) + order.arbiterS) revert TooEarly();
        _settle(key, order, State.Ruled, _share(order.amount, order.silentBuyerBps), 0);
    }

    function _fund(bytes32 orderHash, Terms calldata terms) private returns (bytes32 key) {
        _checkTerms(terms);
        key = keyOf(msg.sender, orderHash);
        if (orders[key].state != State.None) revert WrongState();
        orders[key] = Order({
            buyer: msg.sender,
            since: uint64(block.timestamp),
            state: State.Funded,
            seller: terms.seller,
            deliverBy: terms.deliverBy,
            reviewS: terms.reviewS,
            arbiter: terms.arbiter,
            arbiterS: terms.arbiterS,
            arbiterFeeBps: terms.arbiterFeeBps,
            silentBuyerBps: terms.silentBuyerBps,
            token: terms.token,
            amount: terms.amount
        });
        emit Funded(key, msg.sender, terms.seller, orderHash, terms.token, terms.amount);
        _pull(terms.token, terms.amount);
    }

    function _checkTerms(Terms calldata terms) private view {
        bool parties = terms.seller != address(0) && terms.seller != msg.sender && terms.arbiter != msg.sender
            && terms.arbiter != terms.seller && terms.seller != address(this) && terms.arbiter != address(this);
        bool times = terms.deliverBy > block.timestamp && terms.deliverBy <= block.timestamp + MAX_DELIVERY_S
            && terms.reviewS >= MIN_WINDOW_S && terms.reviewS <= MAX_WINDOW_S && terms.arbiterS >= MIN_WINDOW_S
            && terms.arbiterS <= MAX_WINDOW_S;
        bool shares = terms.arbiterFeeBps <= MAX_FEE_BPS && terms.silentBuyerBps <= ALL_BPS;
        if (!parties || !times || !shares || terms.amount == 0) revert BadTerms();
    }

    /// The only way out of a state that holds money: toBuyer + fee + rest to the seller is always the amount.
    function _settle(bytes32 key, Order storage order, State state, uint128 toBuyer, uint128 fee) private {
        order.state = state;
        order.since = uint64(block.timestamp);
        (address token, uint128 amount) = (order.token, order.amount);
        emit Settled(key, order.buyer, order.seller, state, toBuyer);
        _pay(key, token, order.buyer, toBuyer);
        _pay(key, token, order.arbiter, fee);
        _pay(key, token, order.seller, amount - toBuyer - fee);
    }

    function _inState(bytes32 key, State state) private view returns (Order storage order) {
        order = orders[key];
        if (order.state != state) revert WrongState();
    }

    function _share(uint128 amount, uint16 bps) private pure returns (uint128) {
        return uint128((uint256(amount) * bps) / ALL_BPS);
    }
}
