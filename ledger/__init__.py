"""Wallet, keys, chains, escrow clients, vouchers."""
