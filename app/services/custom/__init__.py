"""Models made to order: the auction that finds the developer, the order, its evaluation."""
