"""Services: one for each thing a person wants done, joining chain, peers, store and agent."""
