"""Service levels: promised beside an offer, watched while a job runs, paid for by a bond when broken."""
