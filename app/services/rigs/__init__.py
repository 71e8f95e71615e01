"""Other machines of the same owner: paired by a code, seen beside this one, given jobs that fit them."""
