"""Linux sandbox for one job: bubblewrap, seccomp, Landlock, rlimits, and a supervisor."""
