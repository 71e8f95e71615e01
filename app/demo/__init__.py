"""The demo market: three real peers on this computer play both journeys, and a receipt shows the money."""
