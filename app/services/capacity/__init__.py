"""Capacity that can be tested: claims, challenges, bonds, and the oracles who decide about them."""
