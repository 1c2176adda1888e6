"""Netfilter: our nftables tables, iptables, connection tracking, and what foreign rules drop."""
