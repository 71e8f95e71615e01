"""One model on many tables, spread over several orders and providers within one cap."""
