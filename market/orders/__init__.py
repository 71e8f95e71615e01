"""Orders: the contract both parties sign, and one table-driven state machine per kind."""
