"""Siblings of mistakes that were once answered misleadingly: each is one fault, at its place, with what to write.

In the texts, `§` marks the place of the fault.
"""

from __future__ import annotations

import pytest

from reconciler.errors import Fault, TopologyError
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, HEAD, HOST, container, expose, host, place, subnet

NETWORKS = BASE + "containers:\n  web:\n    networks:\n"
SIBLINGS = {
    "a colon without a space in networks": (NETWORKS + "      §front:10.44.0.10\n", "`front:10.44.0.10`", "`front: 10.44.0.10`"),
    "a colon without a space in a port": (expose("{§listen:80, to: 81}"), "`listen:80`", "write `listen: 80`"),
    "no space in a host": (host("{connect: lab, §address:192.0.2.11}"), "space after it", "`address: 192.0.2.11`"),
    "no-break spaces before the only key": (
        NETWORKS + "§\u00a0\u00a0\u00a0front: auto\n", "line 8 is indented with U+00A0",
        "plain spaces"
    ),
    "a wide space": (BASE + "containers:\n  web:\n§\u3000 command: [a]\n", "indented with U+3000", "plain spaces"),
    "an em space in the indentation": (HEAD + HOST + "subnets:\n  §\u2003front: {}\n", "indented with U+2003", "plain spaces"),
    "an address and a space in a port": (expose("§192.0.2.11: 8080:80"), "no space in it", 'write "192.0.2.11:8080:80"'),
    "backticks around a port": (expose("§`8080:80`"), "a backtick is not one of YAML's quotes", "write \" or '"),
    "three ports": (expose("§'80:81:82'"), "has three ports", 'write "80:81"'),
    "a protocol behind a colon": (expose("§'53:53:udp'"), "its protocol behind a colon", 'write "53:53/udp"'),
    "IPv6 without brackets": (expose("§'2001:db8::11:80:81'"), "IPv6 address in brackets", 'write "[2001:db8::11]:80:81"'),
    "a document and nothing in it": ("§---\n", "the file is empty", "`netctl init`"),
    "null": ("§null\n", "the file is empty", "`netctl init`"),
    "existing: 1": (container("{existing: §1}"), "but is the number 1", "write true"),
    "existing: 0": (container("{existing: §0}"), "but is the number 0", "write false"),
    "a rate with a fraction": (container("{networks: {front: {rate: §1.5mbit}}}"), "a whole number", "write 1500kbit"),
    "gigabits with a fraction": (container("{networks: {front: {rate: §2.25gbit}}}"), "a whole number", "write 2250mbit"),
    "a unit of an MTU": (container("{networks: {front: {mtu: §1400b}}}"), "a whole number", "write it without a unit: 1400"),
    "a key of a network": (
        container("{networks: {front: {§ipv4_address: 10.44.0.10}}}"), "in network `front` of container `web`",
        "write `address:`"
    ),
    "a comment with an address": (subnet("{cidr: §10.44.0.0}   # not ::1"), "needs a prefix length", "write 10.44.0.0/24"),
}  # fmt: skip


def faults_of(text: str) -> list[Fault]:
    try:
        parse_topology(text.encode())
    except TopologyError as error:
        return list(error.faults)
    return []


@pytest.mark.parametrize(("text", "fragment", "hint"), SIBLINGS.values(), ids=SIBLINGS.keys())
def test_sibling(text: str, fragment: str, hint: str) -> None:
    """One fault and no other that follows from it, at its place, in words that name the mistake and the remedy."""
    text, position = place(text)
    (fault,) = faults_of(text)
    assert fault.position == position, fault
    assert fragment in fault.message
    assert hint in fault.help_text
