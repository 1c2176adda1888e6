"""Two topologies with things of every kind that a user can damage: on one host, and over two hosts of the lab."""

LOCAL = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  lan: {cidr: 192.0.2.0/24, mode: macvlan}
containers:
  web:
    networks: {front: {address: [10.44.0.10, "fd44::10"], rate: 100mbit, routes: [{to: 10.89.0.0/24, via: 10.44.0.20}]}}
    ports: ["8080:80"]
  app: {networks: {front: {address: [10.44.0.20, "fd44::20"], isolated: true}, back: auto}}
  db: {networks: {back: 10.45.0.20}, command: [sleep, infinity]}
  mac: {networks: {lan: 192.0.2.60}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""
LAB = """\
version: 1
name: here
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  tunnel: {cidr: 10.46.0.0/24}
  routed: {cidr: 10.47.0.0/24, overlay: routes}
containers:
  one: {host: alpha, networks: {tunnel: auto, routed: auto}}
  two: {host: beta, networks: {tunnel: auto, routed: auto}, command: [sleep, infinity]}
"""
