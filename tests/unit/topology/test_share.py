"""A container in the network of another one: what the file may say."""

from __future__ import annotations

import pytest

from reconciler.errors import TopologyError
from reconciler.topology.load import parse_topology

FILE = """\
version: 1
name: shop
hosts: {{alpha: {{connect: local}}, beta: {{connect: "ssh://beta"}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  vpn: {{host: alpha, image: vpn, networks: {{front: auto}}}}
  plain: {{host: alpha, networks: {{front: auto}}}}
  many: {{host: alpha, image: many, replicas: 2}}
  theirs: {{host: alpha, existing: true}}
  app: {{host: {host}, image: app, share: {share}{more}}}
"""


def test_it_is_accepted() -> None:
    """The sharer has the other's name, and no network of its own."""
    text = FILE.format(host="alpha", share="vpn", more="")
    assert parse_topology(text.encode()).containers["app"].share == "vpn"


def test_a_bare_namespace_is_shared() -> None:
    """A second command runs in a plain namespace; without a command, nothing does."""
    text = FILE.format(host="alpha", share="vpn", more="").replace(
        "image: app, share: vpn", "command: [sleep, '1'], share: plain"
    )
    assert parse_topology(text.encode()).containers["app"].share == "plain"
    with pytest.raises(TopologyError) as caught:
        parse_topology(text.replace("command: [sleep, '1'], ", "").encode())
    assert "`share` has no effect on `app`: no command runs in it" in caught.value.faults[0].message


@pytest.mark.parametrize(
    ("host", "share", "more", "words"),
    [
        ("alpha", "nobody", "", "there is no container `nobody`"),
        ("alpha", "app", "", "cannot share the network of itself"),
        ("alpha", "many", "", "has replicas"),
        ("alpha", "theirs", "", "another program runs"),
        ("alpha", "plain", "", "have different runtimes: docker and netns"),
        ("beta", "vpn", "", "are on different hosts"),
        ("alpha", "vpn", ", networks: {front: auto}", "`networks` has no meaning for `app`"),
        ("alpha", "vpn", ", hostname: app", "`hostname` has no meaning for `app`"),
        ("alpha", "vpn", ", ports: [80]", "`ports` has no meaning for `app`"),
    ],
)
def test_it_is_refused(host: str, share: str, more: str, words: str) -> None:
    """What cannot be one network, and what belongs to the other container."""
    with pytest.raises(TopologyError) as caught:
        parse_topology(FILE.format(host=host, share=share, more=more).encode())
    assert any(words in fault.message for fault in caught.value.faults), caught.value.faults
