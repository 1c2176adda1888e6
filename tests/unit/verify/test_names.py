"""Queries for names: what is expected, and answers of servers that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.compile import compile_topology
from reconciler.compile.names import reverse_zones
from reconciler.kinds.names.name_file import NameFile
from reconciler.kinds.names.resolv_conf import ResolvConf
from reconciler.kinds.names.resolver import Resolver
from reconciler.probes.names import parse_answer, query
from reconciler.state.host import HostFacts
from reconciler.topology.load import parse_topology

QUESTION = query("web.shop.internal", 1, 7)
ANSWER = QUESTION[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + QUESTION[12:]
RECORD = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 5, 4) + bytes((10, 44, 0, 10))
TEXT = """\
version: 1
name: shop
{dns}hosts: {{alpha: {{connect: local}}}}
subnets: {{front: {{cidr: 10.44.0.0/20}}, back: {{cidr: 10.45.0.0/24, mode: isolated}}}}
containers:
  web: {{networks: {{front: 10.44.0.10}}}}
  db: {{networks: {{back: 10.45.0.20}}}}
  both: {{networks: {{front: 10.44.0.11, back: 10.45.0.11}}}}
policies: [{{allow: web, to: db}}]
"""


def records(dns: str) -> list[object]:
    topology = parse_topology(TEXT.format(dns=dns).encode())
    return list(compile_topology(topology, {"alpha": HostFacts(exists=True)}).hosts["alpha"].records.values())


def test_an_answer_is_read() -> None:
    """The addresses of an answer, whose name may refer to the question's."""
    assert parse_answer(ANSWER + RECORD, QUESTION, 1) == (0, ("10.44.0.10",))
    assert parse_answer(ANSWER + RECORD, QUESTION, 28) == (0, ())


@given(st.binary(max_size=80))
def test_no_answer_breaks_the_probe(rest: bytes) -> None:
    """Whatever follows the question, the answer has addresses or is refused with ValueError."""
    try:
        status, addresses = parse_answer(ANSWER + rest, QUESTION, 1)
    except ValueError:
        return
    assert 0 <= status < 16
    assert all(addresses)


def test_an_answer_to_another_question_is_refused() -> None:
    """The number and the question must be those that were sent."""
    with pytest.raises(ValueError, match="another answer"):
        parse_answer(query("db.shop.internal", 1, 7), QUESTION, 1)


def test_without_the_key_nothing_is_made() -> None:
    """Without `dns` there is no server, no file, no resolv.conf, and no element of the firewall for them."""
    kinds = (Resolver, NameFile, ResolvConf)
    assert not any(isinstance(record, kinds) for record in records(""))
    assert not any(word in str(records("")) for word in ("dns_views", "dns_ports", "resolvers4"))
    assert sum(isinstance(record, kinds) for record in records("dns: true\n")) == 5 + 5 + 3


def test_a_view_follows_from_what_is_reached() -> None:
    """`web` knows `db` by the policy, `both` knows both subnets, and the subnet itself knows neither."""
    files = {(one.subnet, one.view): " ".join(one.lines) for one in records("dns: true\n") if isinstance(one, NameFile)}
    front = {view: text for (subnet, view), text in files.items() if subnet == "front"}
    assert "db." not in front[""]
    assert sum("db.back." in text and "both.back." not in text for text in front.values()) == 1
    assert sum("db.back." in text and "both.back." in text for text in front.values()) == 1
    assert "web." not in files["back", ""]


def test_each_prefix_has_its_domains() -> None:
    """A prefix between two labels has a domain for each part of it."""
    zones = reverse_zones(parse_topology(TEXT.format(dns="").encode()))
    assert zones[:2] == ("0.44.10.in-addr.arpa", "1.44.10.in-addr.arpa")
    assert len(zones) == 16 + 1


def test_the_example_has_every_form() -> None:
    """examples/names.yaml is valid, and its container without a name is in no file."""
    topology = parse_topology(Path("examples/names.yaml").read_bytes())
    facts = {name: HostFacts(exists=True, uplink="eth0") for name in topology.hosts}
    found = [one for host in compile_topology(topology, facts).hosts.values() for one in host.records.values()]
    assert not any("probe." in " ".join(one.lines) for one in found if isinstance(one, NameFile))
    assert not any(one.container == "probe" for one in found if isinstance(one, ResolvConf))
