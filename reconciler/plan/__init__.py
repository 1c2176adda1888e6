"""The planner: what differs, the order of changes, and the rollback. It knows no kind by name."""
