"""Small widgets that look and behave the same on every page."""
