"""What a measurement is worth: intervals, grids, openings, leaderboards. Plain numbers, no libraries."""
