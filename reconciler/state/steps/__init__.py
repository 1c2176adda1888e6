"""Steps: all operations that netctl can do on a host, as data.

A kind lowers a change to steps, and `kernel/` executes them. Each step states its own command lines, which `diff
--commands` prints. Nothing else changes a host, so the printed steps are the executed ones.

Each step names its namespace (see `state.ref`) and the backend that executes it. A backend keeps the order of its
steps. So a run of steps of one backend is one batch: one send for netlink, one transaction for nft.
"""
