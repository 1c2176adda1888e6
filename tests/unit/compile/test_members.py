"""From the members that hosts report to containers of the topology."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.compile import Desired, compile_topology
from reconciler.errors import HostError
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.state.foreign import ForeignContainer, ForeignInterface
from reconciler.state.host import HostFacts, Lease
from reconciler.state.members import COMPOSE_NUMBER, COMPOSE_ONE_OFF, Member, Selector, find_members, settle
from reconciler.state.subject import Subject
from tests.harness.topologies.full import load

HEAD = """\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}, back: {cidr: 10.45.0.0/28, mode: isolated}}
containers:
  first: {networks: {front: auto}}
"""
WEB = HEAD + "  web: {existing: {compose: shop/web}, networks: {front: auto}}\n"
BOTH = (
    WEB
    + "  db: {existing: {compose: shop/db}, networks: {back: 10.45.0.9}}\npolicies: [{allow: web, to: db, ports: [5432/tcp]}]\n"
)


def member(number: int, origin: str = "web", state: str = "running") -> Member:
    return Member(origin, f"{origin}-{number}", "docker", f"shop-{origin}-{number}", state, number)


def facts(*members: Member, leases: tuple[Lease, ...] = ()) -> dict[str, HostFacts]:
    foreign = tuple(ForeignContainer(name=one.engine_name, runtime=one.runtime, state=one.state) for one in members)
    return {"alpha": HostFacts(exists=True, uplink="eth0", members=members, foreign=foreign, leases=leases)}


def addresses(desired: Desired) -> dict[str, tuple[str, ...]]:
    found = desired.resolved.endpoints
    return {name: tuple(own.address for each in found[name] for own in each.addresses) for name in found if name != "first"}


def compiled(text: str, *members: Member) -> Desired:
    return compile_topology(load(text), facts(*members))


def test_members_are_containers() -> None:
    """Each has the file's networks, the engine's name and addresses that follow from its number; and the file stays as it is."""
    topology = load(WEB)
    desired = compile_topology(topology, facts(member(1), member(2)))
    assert [desired.topology.containers[name].engine_name for name in ("web-1", "web-2")] == ["shop-web-1", "shop-web-2"]
    (one, one6), (two, two6) = addresses(desired).values()
    assert int(two.split(".")[3]) == int(one.split(".")[3]) + 1
    assert (one6.startswith("fd00:44::"), int(two6.split("::")[1], 16)) == (True, int(one6.split("::")[1], 16) + 1)
    assert "web" in topology.patterns
    assert not desired.conflicts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), unique=True, max_size=20), st.lists(st.integers(1, 40), unique=True, max_size=20))
def test_addresses_follow_from_the_number(some: list[int], others: list[int]) -> None:
    """Whatever other members there are or were, a member has the same addresses."""
    one = addresses(compiled(WEB, *map(member, some)))
    two = addresses(compiled(WEB, *map(member, others)))
    assert {name: one[name] for name in one.keys() & two.keys()} == {name: two[name] for name in one.keys() & two.keys()}
    assert len(set(one.values())) == len(some)


def test_a_live_address_stays() -> None:
    """A member keeps what it has; one whose address another container has gets the next one."""
    (address, _) = addresses(compiled(WEB, member(1)))["web-1"]
    held = (Lease("front", "web-1", "10.44.0.7"),)
    assert addresses(compile_topology(load(WEB), facts(member(1), leases=held)))["web-1"][0] == "10.44.0.7"
    taken = HEAD.replace("front: auto", f"front: {address}") + WEB.removeprefix(HEAD)
    following = addresses(compiled(taken, member(1)))["web-1"][0]
    assert int(following.split(".")[3]) == int(address.split(".")[3]) + 1


def test_policies_are_of_all_members() -> None:
    """Each member is an end of the policies that name the pattern."""
    records = compiled(BOTH, member(1), member(2), member(1, "db")).hosts["alpha"].records.values()
    found = [one for one in records if isinstance(one, FirewallElement) and one.about == Subject.policy("web", "db")]
    assert len(found) == 2


def test_what_waits() -> None:
    """No member, one that does not run, and a second one with the first one's address: each waits, and nothing is refused."""
    desired = compiled(BOTH, member(3, state="restarting"), member(1, "db"), member(2, "db"))
    assert {one.awaited: one.is_member for one in desired.conflicts} == {"web-3": True, "db-2": True}
    reasons = {one.awaited: one.reason for one in desired.conflicts}
    assert reasons["web-3"] == "docker container shop-web-3 is restarting"
    helps = {one.awaited: one.help_text for one in desired.conflicts}
    assert helps["web-3"].startswith("read why it ends (docker logs shop-web-3)")
    assert reasons["db-2"] == "shop-db-2 cannot have the address 10.45.0.9 in back: db-1 has it"
    assert addresses(desired).keys() == {"web-3", "db-1"}
    (web, db) = compiled(BOTH).conflicts
    assert (web.awaited, db.awaited) == ("web", "db")
    assert "host alpha has no container with compose: shop/web" in web.message
    port = WEB.replace("auto}}\n", 'auto}, ports: ["8080:80"]}\n').replace('auto}, ports: ["8080:80"]}', "auto}}", 1)
    (second,) = compiled(port, member(1), member(2)).conflicts
    assert "cannot have the published port 8080" in second.message


def test_a_full_subnet() -> None:
    """More members than a subnet has addresses for: those that are left wait, and nothing is refused."""
    text = HEAD + "  web: {existing: {compose: shop/web}, networks: {back: auto}}\n"
    desired = compiled(text, *map(member, range(1, 16)))
    assert len(addresses(desired)) == 13, "a /28 has 14, and the gateway has one of them"
    assert {one.awaited for one in desired.conflicts} == {"web-14", "web-15"}
    assert "subnet back has no room for web-14 (shop-web-14)" in desired.conflicts[0].message


def test_refusals() -> None:
    """A name or a container that is taken is refused, and so is one that another topology connects."""
    label = HEAD + "  pool: {existing: {label: tier=front}, networks: {front: auto}}\n"
    named = Member("pool", "first", "docker", "first", "running")
    with pytest.raises(HostError, match="would be called first, as another container is"):
        compiled(label, named)
    both = WEB + "  pool: {existing: {label: tier=front}, networks: {front: auto}}\n"
    with pytest.raises(HostError, match="shop-web-1 would be one of `pool` and of `web`"):
        compiled(both, member(1), Member("pool", "shop-web-1", "docker", "shop-web-1", "running"))
    theirs = ForeignInterface(container="web-1", name="eth0", engine_name="shop-web-1", topology="mine")
    known = facts(member(1))["alpha"]
    with pytest.raises(HostError, match="shop-web-1 of web-1 is connected by topology mine"):
        compile_topology(load(WEB), {"alpha": replace(known, foreign=(*known.foreign, theirs))})


def test_hosts_give_members_to_their_own_patterns_only() -> None:
    """A host that reports members of another host's pattern, or of another engine, adds none."""
    for foreign in (member(1, "db"), replace(member(1), runtime="podman")):
        assert not addresses(compiled(WEB, foreign))


def test_roles() -> None:
    """By its labels a container is a member: with all of them, and not for one command alone."""
    service = {"web": Selector.of_service("shop", "web"), "pool": Selector((("tier", "front"), ("zone", "a")))}
    labels = {**dict(service["web"].labels), COMPOSE_NUMBER: "2", "tier": "front"}

    def names(labels: dict[str, str], engine_name: str = "Shop_Web.2") -> list[str]:
        return [one.name for one in find_members("docker", engine_name, "running", labels, service)]

    assert names(labels) == ["web-2"]
    assert names({**labels, "zone": "a"}) == ["web-2", "shop-web-2"]
    assert names({**labels, COMPOSE_ONE_OFF: "True"}) == []
    assert names(labels, "shop_web_tmp4711") == [], "podman-compose names one-off containers so"
    assert names({**labels, COMPOSE_NUMBER: "no"}) == ["shop-web-2"]
    assert names({"tier": "front", "zone": "a"}, "host") == ["pool-host"]


def test_one_of_each_name() -> None:
    """Of two members with one name, one that runs is taken, as while Compose re-creates one."""
    old, new = replace(member(1), engine_name="b", state="running"), replace(member(1), engine_name="a", state="created")
    assert settle((new, old), (), ()) == ((old,), (new,))
