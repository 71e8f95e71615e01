// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Panel} from "./Panel.sol";

/// What a requester lays down for the model it asks for, before anybody bids. Times: `By` is Unix seconds.
struct ModelRules {
    address arbiter;
    uint64 deliverBy;
    uint32 evaluateS;
    uint32 reviewS;
    uint32 arbiterS;
    uint16 arbiterFeeBps;
    uint8 tries;
    uint8 quorum;
    address[] evaluators;
}

/// @title One check of these rules, made when the auction opens and again when the escrow is paid.
library RulesCheck {
    uint64 internal constant MAX_DELIVERY_S = 365 days;
    uint32 internal constant MIN_WINDOW_S = 60;
    uint32 internal constant MAX_WINDOW_S = 90 days;
    uint16 internal constant MAX_FEE_BPS = 1_000;
    uint8 internal constant MAX_TRIES = 16;

    /// `house` is the escrow, which can be nobody's arbiter and no evaluator.
    function isFit(ModelRules calldata rules, address buyer, address house) internal view returns (bool) {
        bool parties = rules.arbiter != buyer && rules.arbiter != house
            && Panel.isFit(rules.evaluators, rules.quorum, house) && !Panel.has(rules.evaluators, rules.arbiter);
        bool end = rules.deliverBy > block.timestamp && rules.deliverBy <= block.timestamp + MAX_DELIVERY_S;
        bool windows = _isWindow(rules.evaluateS) && _isWindow(rules.reviewS) && _isWindow(rules.arbiterS);
        bool figures = rules.arbiterFeeBps <= MAX_FEE_BPS && rules.tries > 0 && rules.tries <= MAX_TRIES;
        return parties && end && windows && figures;
    }

    function _isWindow(uint32 seconds_) private pure returns (bool) {
        return seconds_ >= MIN_WINDOW_S && seconds_ <= MAX_WINDOW_S;
    }
}
