"""The files that this node keeps for its market: limits, what stays, what is passed on."""
