"""Contests: everybody builds, evaluators measure all entries, the best are paid for handing over their model."""
