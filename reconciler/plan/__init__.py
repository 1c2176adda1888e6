"""The planner: what differs, in which order it is put right, and how it is taken back. It knows no kind by name."""
