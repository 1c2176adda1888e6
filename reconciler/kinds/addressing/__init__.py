"""Kinds of layers 2 and 3: addresses, routes, neighbor and forwarding entries, DHCP clients."""
