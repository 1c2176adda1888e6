"""Steps: everything that netctl can do to a host, as data.

A kind lowers a change to steps; `kernel/` executes them; each step says its own command lines, which `diff --commands` prints.
Nothing else touches a host, so what is printed is what runs.

Each step names the namespace in which it runs (see `state.ref`) and the backend that carries it out. A backend keeps the order
of the steps given to it, so a run of steps in one backend goes out as one batch: one send for netlink, one transaction for nft.
"""
