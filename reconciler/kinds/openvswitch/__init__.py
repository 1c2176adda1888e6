"""The kinds of Open vSwitch: bridges, ports and flows."""
