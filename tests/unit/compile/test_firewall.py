"""What the firewall gets: published ports, policies, and who may use which address."""

from __future__ import annotations

from ipaddress import ip_address

from reconciler.compile import compile_topology
from reconciler.compile.addresses import link_local_of
from reconciler.kinds.firewall.element_text import check_element
from reconciler.kinds.firewall.elements import FirewallElement
from tests.harness.topologies.full import FULL, load

HEAD = """
version: 1
name: shop
hosts: {alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}}
subnets:
  front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  open: {cidr: 10.46.0.0/24, mode: routed}
"""


def elements(text: str, host: str = "alpha") -> dict[str, set[str]]:
    """By set: `key` or `key : value` of each element."""
    found: dict[str, set[str]] = {}
    for record in compile_topology(load(text), {}).hosts[host].records.values():
        if isinstance(record, FirewallElement):
            found.setdefault(record.set, set()).add(record.key + (f" : {record.value}" if record.value else ""))
    return found


def test_elements_are_canonical() -> None:
    """Every element is in the grammar of its set, so what is read back compares with what was made."""
    records = [record for state in compile_topology(load(FULL), {}).hosts.values() for record in state.records.values()]
    elements = [record for record in records if isinstance(record, FirewallElement)]
    assert len({element.set for element in elements}) > 5
    assert [element for element in elements if not is_canonical(element)] == []


def is_canonical(element: FirewallElement) -> bool:
    """Whether the grammar takes it, which raises ValueError where it does not."""
    try:
        check_element(element.family, element.set, element.key, element.value)
    except ValueError:
        return False
    return True


def test_published_ports() -> None:
    """A port on every address is published in both families; one with an address in its family only; ranges port by port."""
    found = elements(
        HEAD
        + """
containers:
  web:
    networks: {front: 10.44.0.10}
    ports: [8080:80, "127.0.0.1:9000-9001:90-91/udp", "[2001:db8::11]:53:53/udp",
             {listen: 8443, to: 443, from: [198.51.100.0/24, 198.51.100.7, "2001:db8:9::/64"]}]
"""
    )
    assert found["published4"] == {"tcp . 8080 : 10.44.0.10 . 80"}
    assert found["published6"] == {"tcp . 8080 : fd00:44::2 . 80"}
    assert found["published_at4"] == {f"udp . 127.0.0.1 . {9000 + n} : 10.44.0.10 . {90 + n}" for n in (0, 1)}
    assert found["published_at6"] == {"udp . 2001:db8::11 . 53 : fd00:44::2 . 53"}
    assert found["published_from4"] == {"tcp . 0.0.0.0/0 . 8443 . 198.51.100.0/24 : 10.44.0.10 . 443"}
    assert found["published_from6"] == {"tcp . ::/0 . 8443 . 2001:db8:9::/64 : fd00:44::2 . 443"}


def test_modes() -> None:
    """Subnets of mode nat are masqueraded and guarded, isolated ones guarded only, routed ones neither."""
    found = elements(HEAD + "containers: {a: {networks: {front: auto, back: auto, open: auto}}}")
    assert found["natted4"] == {"10.44.0.0/24"}
    assert found["guarded4"] == {"10.44.0.0/24", "10.45.0.0/24"}
    assert found["own4"] == found["local4"] == {"10.44.0.0/24", "10.45.0.0/24", "10.46.0.0/24"}
    assert found["nat_bridges"] == {"b-shop-front"}
    assert found["routed_bridges"] == {"b-shop-open"}


def test_a_host_knows_its_own_subnets_from_others() -> None:
    """Packets of another host's routed subnet may arrive over the uplink; those of a subnet of this host may not."""
    found = elements(FULL, "beta")
    assert found["local4"] == {"10.46.0.0/24"}
    assert found["own4"] > found["local4"]


def test_a_container_may_use_its_own_addresses_on_any_of_its_ports() -> None:
    """Replies for its second network leave by the default route, so both ports admit both addresses, each with its own MAC."""
    text = HEAD + "containers: {a: {networks: {front: {address: 10.44.0.10, mac: '02:00:00:00:00:01'}, back: 10.45.0.10}}}"
    found = elements(text)
    assert len(found["addresses4"]) == 4
    assert {key.split(" . ")[2] for key in found["addresses4"]} == {"10.44.0.10", "10.45.0.10"}
    assert "fe80::ff:fe00:1" in {key.split(" . ")[2] for key in found["addresses6"]}


def test_policies() -> None:
    """Between subnets only what a policy says: all replicas on one side, and no pair twice, however policies overlap."""
    found = elements(
        HEAD
        + """
containers:
  w: {replicas: 2, networks: {front: auto}}
  d: {networks: {back: 10.45.0.20}}
policies:
  - {allow: w, to: d, ports: [80/tcp, 443/tcp]}
  - {allow: front, to: back, ports: [443/tcp]}
  - {allow: front, to: host}
"""
    )
    ports = found["allowed_ports4"]
    assert {f"10.44.0.{n} . 10.45.0.20 . tcp . {port}" for n in (2, 3) for port in (80, 443)} <= ports
    assert "10.44.0.0/24 . 10.45.0.0/24 . tcp . 443" not in ports
    assert "allowed4" not in found


def test_outside_for_an_isolated_subnet() -> None:
    """A policy lets a container of an isolated subnet out, masqueraded; its neighbours stay in."""
    text = HEAD + "containers: {d: {networks: {back: 10.45.0.20}}}\npolicies: [{allow: d, to: outside, ports: [443/tcp]}]"
    found = elements(text)
    assert found["outbound_ports4"] == {"10.45.0.20 . tcp . 443"}
    assert found["natted4"] == {"10.45.0.20"}


def test_a_policy_that_says_nothing_new_costs_nothing() -> None:
    """A nat subnet reaches the outside anyway."""
    found = elements(HEAD + "containers: {a: {networks: {front: auto}}}\npolicies: [{allow: a, to: outside}]")
    assert not [name for name in found if name.startswith(("outbound", "allowed"))]


def test_no_policy_opens_an_isolated_subnet_from_outside() -> None:
    """Of a container in a routed and in an isolated subnet, a policy that lets the outside in means the routed one."""
    found = elements(HEAD + "containers: {a: {networks: {open: auto, back: auto}}}\npolicies: [{allow: outside, to: a}]")
    assert not [name for name in found if name.startswith(("outbound", "allowed"))]
    assert "10.45.0.0/24" in found["guarded4"]


def test_link_local_addresses() -> None:
    """As the kernel makes them of a hardware address (RFC 4291, appendix A)."""
    assert link_local_of("02:61:45:5b:14:d7") == "fe80::61:45ff:fe5b:14d7"
    assert ip_address(link_local_of("02:00:00:00:00:00")).is_link_local
