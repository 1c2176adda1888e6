"""A host's uplink as a port of a bridge: the move in both directions, and the announcements to other machines on the LAN."""
