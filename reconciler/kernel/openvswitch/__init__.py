"""Open vSwitch: its database (RFC 7047) and its OpenFlow rules."""
