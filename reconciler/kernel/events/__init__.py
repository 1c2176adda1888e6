"""Events: what the kernel, an engine or a file says of a change. Each one is a hint to read, and nothing is derived from it.

A source has a descriptor for an event loop, and `drain` empties it. What was lost (a full buffer, a connection that ended) is a
hint, too. `hints` has the loop over all sources.
"""
