"""Wallet, chains, escrow and voucher clients; the contracts and the group chain they run on."""
