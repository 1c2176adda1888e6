"""Files that once had a misleading message: each has one fault, at the place of the mistake, with the words that a reader needs.

All rows about a file are here. `tests/system/cli` has the row of a missing `command`, and `tests/unit/render` that of `replicas`.
`tests/contract/kernel/facts` has those of a refused route and of Docker's own network.
"""

from __future__ import annotations

import pytest

from reconciler.errors import Position, TopologyError
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, HEAD, HOST, place

WEB = BASE + "containers:\n  web:\n    networks: {front: 10.44.0.10}\n"
ENGINE = BASE + "containers:\n  web:\n    image: a\n    networks: {front: auto}\n"


def subnets(text: str) -> str:
    return HEAD + HOST + f"subnets: {{front: {{{text}}}}}\n"


ROWS = {
    "no space": (
        BASE + "containers:\n  web:\n    host§:alpha\n    networks: {front: auto}\n",
        "a colon needs a space",
        "`host: alpha`",
    ),
    "an open quote": (WEB + '    ports:\n      - §"8080:80\n', "the quote opened in line 9 is not closed", 'close it with "'),
    "one space too few": (
        BASE + "containers:\n  web:\n    image: a\n   §networks: {front: auto}\n",
        "line 8 is indented by 3 spaces, and line 7 by 4",
        "indent it by 4 spaces",
    ),
    "odd spaces": (
        BASE + "containers:\n  web:\n§\u00a0\u00a0\u00a0\u00a0networks: {front: auto}\n",
        "line 7 is indented with U+00A0",
        "plain",
    ),
    "a space in a port": (WEB + "    ports:\n      - §8080: 80\n", "no space in it", '"8080:80"'),
    "a fraction": (WEB + "    ports:\n      - §80.5\n", "must be a port", "a port is a whole number"),
    "half an address": (BASE + "containers: {web: {networks: {front: §10.44}}}\n", "must be an address", "has four parts"),
    "foreign quotes": (WEB + "    ports: [§“8080:80”]\n", "is not one of YAML's quotes", "in its place"),
    "a colon first": (subnets("cidr: [10.44.0.0/24, §::/64]"), "needs quotes: `::/64`", '"::/64"'),
    "half a prefix": (subnets("cidr: §10.44/16"), "fewer than four parts", "10.44.0.0/16"),
    "a leading zero": (BASE + "containers: {web: {networks: {front: §10.44.0.010}}}\n", "leading zero", "write 10.44.0.10"),
    "a variable": ("version: 1\nname: §${NAME}\n" + HOST, "no variables are filled in", "the value itself"),
    "a version in quotes": ('version: §"1"\nname: shop\n' + HOST, "`version` must be 1", "without quotes"),
    "container": (
        BASE + "§container:\n  web: {networks: {front: auto}}\npolicies:\n- {allow: web, to: front}\n",
        "`container`",
        "`containers`",
    ),
    "netwroks": (BASE + "containers:\n  web:\n    §netwroks: {front: auto}\n    ports: [80]\n", "`netwroks`", "`networks`"),
    "from": (WEB + "policies:\n  - {§from: web, to: front}\n", "`from`", "`allow:`"),
    "services": (
        BASE + "§services:\n  web: {networks: {front: auto}}\npolicies:\n- {allow: web, to: front}\n",
        "`services`",
        "`containers:`",
    ),
    "ports at the top": (HEAD + "§ports: [80]\n" + HOST, "`ports`", 'write `ports: ["8080:80"]`, in the container'),
    "networks at the top": (
        HEAD + HOST + "§networks: {front: {cidr: 10.44.0.0/24}}\ncontainers: {web: {networks: {front: auto}}}\n",
        "`networks`",
        "`subnets:`",
    ),
    "subnet": (subnets("§subnet: 10.44.0.0/24"), "`subnet`", "`cidr:`"),
    "internal": (subnets("cidr: 10.44.0.0/24, §internal: true"), "`internal`", "`mode: isolated`"),
    "mode: bridge": (subnets("cidr: 10.44.0.0/24, mode: §bridge"), "`mode` must be one of", "`mode: nat`"),
    "depends_on": (WEB + "    §depends_on: [db]\n", "`depends_on`", "in no order"),
    "driver": (subnets("cidr: 10.44.0.0/24, §driver: bridge"), "`driver`", "`mode:`"),
    "an empty file": ("§", "the file is empty", "`netctl init` writes"),
    "existing: yes": (WEB + "    existing: §yes\n", "`existing` must be true", "write true"),
    "existing: no": (WEB + "    existing: §no\n", "`existing`", "false"),
    "existing: on": (WEB + "    existing: §on\n", "`existing` must be true", "write true"),
    "no host port": (WEB + '    ports: [§"127.0.0.1::5000"]\n', "no host port", '"127.0.0.1:5000:5000"'),
    "an address and a port": (WEB + '    ports: [§"192.0.2.11:80"]\n', "an address and one port", '"192.0.2.11:80:80"'),
    "no address": (WEB + '    ports: [§":443:443"]\n', "no address before the first colon", '"443:443"'),
    "an item of env": (ENGINE + "    env:\n      - A=1\n      - §B\n", "without `=`", "B=value"),
    "an item of cidr": (
        HEAD + HOST + "subnets:\n  front:\n    cidr:\n      - 10.44.0.0/24\n      - §10.44.1.300/24\n",
        "is not a CIDR",
        "10.44.0.0/24",
    ),
    "an item of from": (
        WEB + "    ports:\n      - listen: 80\n        from: [10.0.0.0/8, §10.0.0.300/8]\n",
        "`from` is not a CIDR",
        "write",
    ),
    "an item of command": (WEB + "    command:\n      - sleep\n      - §5\n", "one item is the number 5", '"5"'),
    "an item of address": (
        HEAD + "hosts: {alpha: {connect: lab, address: [192.0.2.11, §x]}}\n",
        "`address` is not an IP address",
        "write one such as",
    ),
    "no unit": (BASE + "containers: {web: {networks: {front: {address: auto, rate: §40}}}}\n", "`rate` needs a unit", "40mbit"),
    "two equal variables": (
        ENGINE + "    env:\n      - A=1\n      - §A=2\n",
        "`A` is given twice; it stands in line 10",
        "remove one",
    ),
    "two equal paths": (
        ENGINE + "    volumes:\n      - /a:/d\n      - §/b:/d\n",
        "/d is given twice; it stands in line 10",
        "remove one",
    ),
    "an MTU above the subnet's": (
        subnets("cidr: 10.44.0.0/24, mtu: 1400") + "containers: {web: {networks: {front: {address: auto, mtu: §1500}}}}\n",
        "`mtu` is 1500, but `front` carries 1400",
        "write 1400",
    ),
    "an address of no host": (
        WEB + '    ports: [§"10.44.0.77:80:80"]\n',
        "10.44.0.77 is not an address of the host",
        "10.44.0.1",
    ),
}


@pytest.mark.parametrize(("text", "message", "help_text"), ROWS.values(), ids=ROWS)
def test_one_fault_at_its_place_with_the_words_that_help(text: str, message: str, help_text: str) -> None:
    """One fault, and none that follows from it."""
    from reconciler.compile import check_alone

    text, position = place(text)
    with pytest.raises(TopologyError) as raised:
        check_alone(parse_topology(text.encode()))
    (fault,) = raised.value.faults
    assert fault.position == position, fault
    assert message in fault.message
    assert help_text in fault.help_text
    assert isinstance(fault.position, Position)
