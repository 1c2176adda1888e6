"""Topologies with one fault each, and how it must be reported.

In the texts, `§` marks the place where the fault must be found; it is taken out before the text is parsed.
"""

from __future__ import annotations

import pytest

from reconciler.errors import Position, TopologyError
from reconciler.topology.load import parse_topology

HEAD = "version: 1\nname: shop\n"
HOST = "hosts: {alpha: {connect: lab, address: 192.0.2.11}}\n"
HOSTS = "hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}\n"
NET = "subnets: {front: {cidr: 10.44.0.0/24}}\n"
BASE = HEAD + HOST + NET
DUAL = HEAD + HOST + 'subnets: {front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}}\n'


def host(text: str) -> str:
    return HEAD + "hosts:\n  alpha: " + text + "\n"


def subnet(text: str) -> str:
    return HEAD + HOST + "subnets:\n  front: " + text + "\n"


def container(text: str) -> str:
    return BASE + "containers:\n  web: " + text + "\n"


def lan(text: str) -> str:
    return HEAD + HOST + "subnets: {front: {cidr: 192.0.2.0/24, mode: direct}}\ncontainers:\n  " + text + "\n"


def web_and(text: str) -> str:
    return BASE + "containers:\n  web: {networks: {front: 10.44.0.10}}\n  db: " + text + "\n"


def expose(*items: str) -> str:
    return BASE + "containers:\n  web:\n    networks: {front: auto}\n    ports:\n" + "".join(f"    - {item}\n" for item in items)


def policy(text: str, containers: str = "{web: {networks: {front: auto}}}") -> str:
    return BASE + f"containers: {containers}\npolicies:\n- {text}\n"


def place(text: str) -> tuple[str, Position]:
    before = text[: text.index("§")]
    return text.replace("§", ""), Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


def check_fault(text: str, fragment: str) -> None:
    """Exactly this fault is found, exactly there, and its help says what to write."""
    text, position = place(text)
    with pytest.raises(TopologyError) as raised:
        parse_topology(text.encode())
    found = [f"{fault.position.line}:{fault.position.column}: {fault.message}" for fault in raised.value.faults]
    assert len(found) == 1, found
    (fault,) = raised.value.faults
    assert fragment in fault.message
    assert fault.position == position, found
    assert fault.help_text
    assert raised.value.exit_status == 2
