"""Orders in motion: negotiation, escrow, delivery, jobs; one driver per open order."""
