"""Requests for a model that does not exist yet: what is asked, measured, proved and opened."""
