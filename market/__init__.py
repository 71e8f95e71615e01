"""The rules of the market: pure values and functions."""
