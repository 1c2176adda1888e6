"""Netfilter: netctl's nftables tables, iptables, connection tracking, and drops by foreign rules."""
