"""Letters: kept for peers that are off, sent when they can be, and taken in."""
