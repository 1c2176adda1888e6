"""Containers that labels select: what the file may say of them."""

from __future__ import annotations

import pytest

from reconciler.fleet.target import targets_of
from reconciler.state.members import Selector
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, check_fault, container

COMPOSE = "web: {existing: {compose: shop/web}, networks: {front: auto}}"
CASES = {
    "no slash": (container("{existing: {compose: §shop}}"), "is not a project and a service of Compose"),
    "number": (container("{existing: {compose: §1}}"), "must be a project and a service of Compose"),
    "both": (container("{§existing: {compose: shop/web, label: a=b}}"), "must be {compose: project/service} or {label"),
    "unknown": (container("{§existing: {name: web}}"), "must be {compose: project/service} or {label"),
    "without a key": (container("§{existing: shop/web}").replace("§{existing: ", "{existing: §"), "is not a container name"),
    "label alone": (container("{existing: {label: §tier}}"), "is not a label and its value"),
    "label number": (container("{existing: {label: [a=b, §5]}}"), "must be a label and its value"),
    "no labels": (container("{existing: {§label: []}}"), "is an empty list"),
    "label twice": (container("{existing: {label: [a=b, §a=c]}}"), "has the label `a` twice"),
    "replicas": (container("{existing: {compose: shop/web}, §replicas: 2}"), "`replicas` has no effect"),
    "image": (container("{existing: {label: a=b}, §image: a}"), "`image` has no effect"),
    "netns": (container("{existing: {compose: shop/web}, runtime: §netns}"), "runtime cannot be netns"),
    "lxc": (container("{runtime: lxc, §existing: {compose: shop/web}}"), "LXC has none"),
    "the same": (
        BASE + "containers:\n  a: {existing: {compose: shop/web}}\n  b: {§existing: {compose: shop/web}}\n",
        "`b` and `a` would be the same containers",
    ),
    "a member's name": (BASE + f"containers:\n  §web-2: {{}}\n  {COMPOSE}\n", "of the service `web` can also have it"),
    "a replica's name": (
        BASE + f"containers:\n  {COMPOSE.replace('web:', 'web-1:')}\n  §web-1-2: {{}}\n",
        "a container of the service `web-1` can also have it",
    ),
    "a long name": (BASE + f"containers:\n  §{'w' * 59}: {{existing: {{compose: shop/web}}}}\n", "is too long for a service"),
    "share": (
        BASE + f"containers:\n  {COMPOSE}\n  app: {{image: a, share: §web}}\n",
        "cannot share the network of `web`, which another program runs",
    ),
    "option": (
        BASE.replace("10.44.0.0/24}", "192.0.2.0/24, mode: macvlan}") + "containers:\n  web:\n    existing: {label: a=b}\n"
        "    networks: {front: 192.0.2.9}\n    §connections: 100\n",
        "`connections` has no effect on `web`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_faults(name: str) -> None:
    """Each is one fault, at its place."""
    check_fault(*CASES[name])


def test_patterns() -> None:
    """No container stands for the pattern; its host has the subnet, and its worker learns the labels."""
    text = BASE + f"containers:\n  {COMPOSE}\n  other: {{runtime: podman, existing: {{label: [a=b, 'c=d e']}}}}\n"
    topology = parse_topology(text.encode())
    assert not topology.containers
    assert topology.patterns["web"].selector == Selector.of_service("shop", "web")
    assert topology.patterns["other"].selector == Selector((("a", "b"), ("c", "d e")))
    (target,) = (target for target in targets_of(topology) if target.host == "alpha")
    assert target.members == {
        runtime: {name: topology.patterns[name].selector} for runtime, name in (("docker", "web"), ("podman", "other"))
    }
    assert target.containers == {"docker": {}, "podman": {}}
    assert topology.may_have("web-7")
    assert topology.may_have("anything"), "a label may choose it"
