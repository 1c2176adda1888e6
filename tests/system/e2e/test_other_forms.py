"""What stands in a place of netctl's in another form: it is replaced on links and in namespaces of netctl's, else it is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.topologies.local import write

pytestmark = pytest.mark.kernel

FILE = """\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 198.51.100.12}}
subnets: {a: {cidr: [10.44.0.0/24, "fd44::/64"]}, b: {cidr: 10.45.0.0/24, mode: routed}}
containers:
  web: {host: alpha, networks: {a: [10.44.0.3, "fd44::3"], b: auto}}
  db: {host: beta, networks: {a: auto}}
"""
ALPHA, WEB, ROUTER = "ip -n shop.lab.alpha", "ip -n shop.web", "ip -n shop.lab.router"
EACH = "for r in $(ip -n shop.lab.router -4 route show proto 78 | cut -d' ' -f1); do "
EACH += "d=$(ip -n shop.lab.router route show $r); ip -n shop.lab.router route {}; done"
REPLACED = {
    "an address again": f"{ALPHA} address del 10.44.0.1/24 dev b-shop-a; {ALPHA} address add 10.44.0.1/24 dev b-shop-a",
    "a container's address again": f"{WEB} address del 10.44.0.3/24 dev eth0; {WEB} address add 10.44.0.3/24 dev eth0",
    "a default route by hand": f"{WEB} route del default; {WEB} route add default via 10.44.0.1",
    "a default route by a neighbour": f"{WEB} route del default; {WEB} route add default via 10.44.0.9",
    "a default route with another metric": f"{WEB} route del default; {WEB} route add default via 10.44.0.1 metric 5 proto 78",
    "a default route over two hops": f"{WEB} route replace default nexthop via 10.44.0.1 nexthop via 10.44.0.9",
    "a default route to nowhere": f"{WEB} route replace blackhole default",
    "proto static": f"{WEB} route replace default via 10.44.0.1 proto static",
    "IPv6 by hand": f"{WEB} -6 route del default; {WEB} -6 route add default via fd44::1",
    "IPv6 static": f"{WEB} -6 route replace default via fd44::1 proto static",
    "IPv6, the subnet": f"{WEB} -6 route del fd44::/64; {WEB} -6 route add fd44::/64 dev eth0 proto static",
    "the host's route to a subnet": f"{ALPHA} route replace 10.44.0.0/24 dev b-shop-a proto static",
    "the lab router's routes": EACH.format("replace ${d/proto 78/proto static}"),
    "a lab host's default route": f"{ALPHA} route replace default via 192.0.2.1 proto static",
    "the lab's bridge without its group": f"{ROUTER} link set s-192.0.2.0 group 0",
    "the lab's cable without its group": f"{ROUTER} link set h-alpha group 0; {ALPHA} link set eth0 group 7",
    "an eth0 of another type": f"{WEB} link del eth0; {WEB} link add eth0 type bridge; {WEB} link set eth0 up",
    "a lab host's eth0 of another type": f"{ALPHA} link del eth0; {ALPHA} link add eth0 type bridge",
}
REFUSED = {
    "over another's link": f"{ALPHA} link add d0 type bridge; {ALPHA} link set d0 up; {ALPHA} route replace 10.44.0.0/24 dev d0",
    "to nowhere": f"{ALPHA} route replace blackhole 10.44.0.0/24",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The topology, applied; each test leaves it as the file says."""
    require_capability("root")
    require_capability("nft")
    made = Machine.make(tmp_path_factory.mktemp("forms"))
    try:
        made.sh("ip netns add x; ip netns delete x")
        assert quick_netctl(made, "apply", write(made, FILE))[0].status == 0
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("script", REPLACED.values(), ids=REPLACED.keys())
def test_it_is_replaced(lab: Machine, script: str) -> None:
    """`diff` shows it, one apply replaces it, and then nothing differs."""
    lab.run("bash", "-c", script)
    file = lab.folder / "topology.yaml"
    assert quick_netctl(lab, "diff", file)[0].status == 1
    done = quick_netctl(lab, "apply", file)[0]
    assert done.status == 0, done.err
    assert quick_netctl(lab, "diff", file)[0].status == 0


@pytest.mark.parametrize("script", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_named(lab: Machine, script: str) -> None:
    """A route of the host to the prefix of netctl's route, but not on its link, is refused with 3; the help removes it."""
    lab.run("bash", "-c", script)
    file = lab.folder / "topology.yaml"
    done = quick_netctl(lab, "apply", file)[0]
    assert done.status == 3, done.err
    assert "cannot add the route to 10.44.0.0/24 over b-shop-a: the host has another in its place" in done.err
    lab.sh(done.err.rpartition("another metric: ")[2], "shop.lab.alpha")
    assert quick_netctl(lab, "apply", file)[0].status == 0
