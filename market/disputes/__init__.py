"""What the parties of an order say to each other, and what one of them shows to an arbiter."""
