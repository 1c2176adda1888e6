"""The files under /run/netctl: the lock, and the data that netctl keeps for its next run."""
