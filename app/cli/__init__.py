"""Command line: a client of the local API."""
