"""A topology in the lab, as a file, that goes away with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.netctl import run_netctl

SHOP = """\
version: 1
name: {name}
hosts:
  alpha: {{connect: lab, address: 192.0.2.11}}
  beta: {{connect: lab, address: 192.0.2.12}}
subnets:
  front: {{cidr: [10.44.0.0/24, "fd44::/64"]}}
  back: {{cidr: 10.45.0.0/24, mode: isolated}}
  open: {{cidr: 10.46.0.0/24, mode: routed}}
containers:
  web:
    host: alpha
    networks: {{front: 10.44.0.10}}
    ports: ["8080:80", "5353:53/udp", {{listen: 8443, to: 443, from: [192.0.2.0/24]}}]
  app: {{host: alpha, networks: {{front: auto, back: auto}}}}
  db: {{host: alpha, networks: {{back: 10.45.0.20}}, command: [sleep, infinity]}}
  worker: {{host: beta, replicas: 3, networks: {{open: auto}}}}
policies:
  - {{allow: web, to: back, ports: [5432/tcp]}}
"""


@pytest.fixture
def shop(topology_name: str, tmp_path: Path) -> Iterator[Path]:
    """The file; whatever was made of it is destroyed at the end."""
    path = tmp_path / "topology.yaml"
    path.write_text(SHOP.format(name=topology_name))
    yield path
    run_netctl("destroy", "--name", topology_name)
