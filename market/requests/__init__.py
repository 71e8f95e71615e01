"""Requests for models made to order: what they say, what is handed in, what evaluators sign."""
