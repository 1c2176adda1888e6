"""The files under /run/netctl: the lock, and what netctl keeps for its next run."""
