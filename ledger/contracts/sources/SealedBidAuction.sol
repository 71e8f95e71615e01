// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ModelEscrow} from "./ModelEscrow.sol";
import {ModelRules, RulesCheck} from "./ModelRules.sol";
import {Till} from "./Till.sol";

/// @title Finds who makes a model for the least money, by sealed bids: the lowest wins and is paid the second lowest.
/// @notice The requester pays its whole budget in when it opens, and cannot take it back while bids may come.
/// Everybody pays the same deposit with a sealed bid, and has it back when the bid is opened. A bid that is not
/// opened in time loses its deposit to the winner, never to the requester, who could otherwise live on bids that it
/// keeps from being opened; where no bid was opened, every deposit goes back. There is no owner. Each state has an exit that anyone can take:
///
///   Open    -> settle    after revealBy                       to Settled, or to Void where no bid was opened
///   Settled -> award     until deliverBy                      the price into the escrow, the rest to the requester
///   Settled -> expire    after deliverBy                      the budget to the requester
///   Void    -> withdraw  for each bidder                      its deposit
contract SealedBidAuction is Till {
    using RulesCheck for ModelRules;
    using SafeERC20 for IERC20;

    enum State {
        None,
        Open,
        Settled,
        Void,
        Awarded,
        Expired
    }

    struct Terms {
        address token;
        address escrow;
        uint128 budget;
        uint128 deposit;
        uint64 commitBy;
        uint64 revealBy;
        ModelRules rules;
    }

    /// `sealedBids` counts the bids that were not opened; `best` and `second` begin at the budget.
    struct Auction {
        address requester;
        uint64 commitBy;
        uint32 sealedBids;
        address token;
        uint64 revealBy;
        State state;
        uint128 budget;
        uint128 deposit;
        uint128 best;
        uint128 second;
        address winner;
        uint64 deliverBy;
        address escrow;
        bytes32 rulesHash;
    }

    uint64 public constant MIN_WINDOW_S = 60;
    /// What stands in the place of a commitment: the bid was opened and its deposit paid back; paid back without;
    /// or the address can make no bid, as the arbiter and the evaluators of this request.
    bytes32 public constant OPENED = bytes32(uint256(1));
    bytes32 public constant PAID_BACK = bytes32(uint256(2));
    bytes32 public constant BARRED = bytes32(uint256(3));

    mapping(bytes32 key => Auction) private _auctions;
    mapping(bytes32 key => mapping(address bidder => bytes32)) public bids;

    event Opened(bytes32 indexed key, address indexed requester, bytes32 requestHash, Terms terms);
    event Committed(bytes32 indexed key, address indexed bidder, bytes32 commitment);
    event Revealed(bytes32 indexed key, address indexed bidder, uint128 amount);
    /// Without a winner `winner` is zero, and so are the price and the forfeits.
    event Settled(
        bytes32 indexed key, address indexed requester, address indexed winner, uint128 price, uint256 forfeits
    );
    event Awarded(bytes32 indexed key, address indexed requester, address indexed winner, uint128 price, bytes32 order);
    event Expired(bytes32 indexed key, address indexed requester, address indexed winner);

    error BadTerms();
    error WrongState();
    error TooEarly();
    error TooLate();
    error NotABidder();
    error AlreadyBid();
    error BadBid();
    error NothingNew();
    error BadEscrow();

    function keyOf(address requester, bytes32 requestHash) public pure returns (bytes32) {
        return keccak256(abi.encode(requester, requestHash));
    }

    /// What a bidder commits to. It names the bidder, so that copying another's commitment is of no use.
    function commitmentOf(bytes32 key, address bidder, uint128 amount, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), key, bidder, amount, salt));
    }

    /// The requester pays in its budget, with a signed allowance for exactly it (or one that is there).
    function open(bytes32 requestHash, Terms calldata terms, Permit calldata permit)
        external
        nonReentrant
        returns (bytes32 key)
    {
        _checkTerms(terms);
        key = keyOf(msg.sender, requestHash);
        if (_auctions[key].state != State.None) revert WrongState();
        _auctions[key] = Auction({
            requester: msg.sender,
            commitBy: terms.commitBy,
            sealedBids: 0,
            token: terms.token,
            revealBy: terms.revealBy,
            state: State.Open,
            budget: terms.budget,
            deposit: terms.deposit,
            best: terms.budget,
            second: terms.budget,
            winner: address(0),
            deliverBy: terms.rules.deliverBy,
            escrow: terms.escrow,
            rulesHash: keccak256(abi.encode(terms.rules))
        });
        bids[key][terms.escrow] = BARRED;
        bids[key][terms.rules.arbiter] = BARRED;
        for (uint256 i = 0; i < terms.rules.evaluators.length; i++) {
            bids[key][terms.rules.evaluators[i]] = BARRED;
        }
        emit Opened(key, msg.sender, requestHash, terms);
        _tryPermit(terms.token, terms.budget, permit);
        _pull(terms.token, terms.budget);
    }

    /// A sealed bid, once for each address, with the deposit.
    function commit(bytes32 key, bytes32 commitment, Permit calldata permit) external nonReentrant {
        Auction storage auction = _inState(key, State.Open);
        if (block.timestamp > auction.commitBy) revert TooLate();
        bytes32 before = bids[key][msg.sender];
        if (before == BARRED || msg.sender == auction.requester) revert NotABidder();
        if (before != bytes32(0)) revert AlreadyBid();
        if (uint256(commitment) <= uint256(BARRED)) revert BadBid();
        bids[key][msg.sender] = commitment;
        auction.sealedBids += 1;
        emit Committed(key, msg.sender, commitment);
        (address token, uint128 deposit) = (auction.token, auction.deposit);
        _tryPermit(token, deposit, permit);
        _pull(token, deposit);
    }

    /// Anyone who has a bid's opening may open it, so that no bidder has to be there in person. Its deposit goes back.
    function reveal(bytes32 key, address bidder, uint128 amount, bytes32 salt) external nonReentrant {
        Auction storage auction = _inState(key, State.Open);
        if (block.timestamp <= auction.commitBy) revert TooEarly();
        if (block.timestamp > auction.revealBy) revert TooLate();
        bytes32 commitment = bids[key][bidder];
        if (commitment == OPENED) revert NothingNew();
        if (commitment != commitmentOf(key, bidder, amount, salt)) revert BadBid();
        if (amount == 0 || amount > auction.budget) revert BadBid();
        bids[key][bidder] = OPENED;
        auction.sealedBids -= 1;
        emit Revealed(key, bidder, amount);
        _rank(key, auction, bidder, amount);
        _pay(key, auction.token, bidder, auction.deposit);
    }

    /// Anyone may end the auction once the time for opening bids is over.
    function settle(bytes32 key) external nonReentrant {
        Auction storage auction = _inState(key, State.Open);
        if (block.timestamp <= auction.revealBy) revert TooEarly();
        (address winner, address token) = (auction.winner, auction.token);
        if (winner == address(0)) {
            auction.state = State.Void;
            emit Settled(key, auction.requester, winner, 0, 0);
            _pay(key, token, auction.requester, auction.budget);
        } else {
            auction.state = State.Settled;
            uint256 forfeits = uint256(auction.sealedBids) * auction.deposit;
            emit Settled(key, auction.requester, winner, auction.second, forfeits);
            _pay(key, token, winner, forfeits);
        }
    }

    /// Anyone may pay the price into the escrow; `rules` are those that the auction was opened with.
    function award(address requester, bytes32 requestHash, ModelRules calldata rules)
        external
        nonReentrant
        returns (bytes32 order)
    {
        bytes32 key = keyOf(requester, requestHash);
        Auction storage auction = _inState(key, State.Settled);
        if (keccak256(abi.encode(rules)) != auction.rulesHash) revert BadTerms();
        auction.state = State.Awarded;
        ModelEscrow.Terms memory terms =
            ModelEscrow.Terms({seller: auction.winner, token: auction.token, amount: auction.second, rules: rules});
        order = _fund(auction.escrow, requester, requestHash, terms);
        emit Awarded(key, requester, terms.seller, terms.amount, order);
        _pay(key, terms.token, requester, auction.budget - terms.amount);
    }

    /// Anyone may give the budget back where nobody awarded in time.
    function expire(bytes32 key) external nonReentrant {
        Auction storage auction = _inState(key, State.Settled);
        if (block.timestamp <= auction.deliverBy) revert TooEarly();
        auction.state = State.Expired;
        emit Expired(key, auction.requester, auction.winner);
        _pay(key, auction.token, auction.requester, auction.budget);
    }

    /// Anyone may send a deposit back to its bidder where no bid was opened.
    function withdraw(bytes32 key, address bidder) external nonReentrant {
        Auction storage auction = _inState(key, State.Void);
        if (uint256(bids[key][bidder]) <= uint256(BARRED)) revert NothingNew();
        bids[key][bidder] = PAID_BACK;
        _pay(key, auction.token, bidder, auction.deposit);
    }

    function auctions(bytes32 key) external view returns (Auction memory auction) {
        return _auctions[key];
    }

    /// Among equal bids the smaller hash wins: it was fixed before anybody bid.
    function _rank(bytes32 key, Auction storage auction, address bidder, uint128 amount) private {
        (uint128 best, address winner) = (auction.best, auction.winner);
        bool wins = winner == address(0) || amount < best
            || (amount == best && keccak256(abi.encode(key, bidder)) < keccak256(abi.encode(key, winner)));
        if (wins) {
            auction.second = best;
            auction.best = amount;
            auction.winner = bidder;
        } else if (amount < auction.second) {
            auction.second = amount;
        }
    }

    /// The requester named this escrow: it is let take the price, and has to take exactly it.
    function _fund(address escrow, address requester, bytes32 requestHash, ModelEscrow.Terms memory terms)
        private
        returns (bytes32 order)
    {
        IERC20 token = IERC20(terms.token);
        uint256 before = token.balanceOf(address(this));
        token.forceApprove(escrow, terms.amount);
        order = ModelEscrow(escrow).fundFor(requester, requestHash, terms);
        if (token.balanceOf(address(this)) + terms.amount != before) revert BadEscrow();
    }

    function _checkTerms(Terms calldata terms) private view {
        bool times = terms.commitBy > block.timestamp && terms.revealBy >= uint256(terms.commitBy) + MIN_WINDOW_S
            && terms.rules.deliverBy >= uint256(terms.revealBy) + MIN_WINDOW_S;
        bool money = terms.budget > 0 && terms.deposit > 0;
        bool house = terms.escrow != address(0) && terms.escrow != address(this) && terms.escrow != msg.sender;
        if (!times || !money || !house || !terms.rules.isFit(msg.sender, terms.escrow)) revert BadTerms();
    }

    function _inState(bytes32 key, State state) private view returns (Auction storage auction) {
        auction = _auctions[key];
        if (auction.state != state) revert WrongState();
    }
}
