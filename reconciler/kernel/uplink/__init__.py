"""A host's uplink as the port of a bridge: the move there and back, and what other machines on the LAN learn of it."""
