"""Contests: everybody builds, evaluators measure all entries, the best are paid and hand over their model."""
