"""Capacity, sandbox, jobs and metering; runs without keys."""
