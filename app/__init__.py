"""Composition root: node, services, local API, command line, demo."""
