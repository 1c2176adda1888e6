"""The topology that a container's root attacks: two networks, a rate limit and IPv6 in `web`, and `db` beside it."""

from __future__ import annotations

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web: {networks: {front: {address: [10.44.0.10, "fd44::10"], rate: 100mbit}, back: 10.45.0.10}, ports: ["8080:80"]}
  app: {networks: {front: auto}}
  db: {networks: {front: auto, back: auto}, command: [sleep, infinity]}
"""
