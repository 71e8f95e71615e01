"""The contracts of the market: Solidity sources, committed ABI and bytecode, and how to rebuild them."""
