"""Messages about orders, and evidence for those who decide about them."""
