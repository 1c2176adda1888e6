"""netctl: a declarative reconciler for container networks on Linux."""

__version__ = "0.2.0"
