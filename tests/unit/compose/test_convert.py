"""What an import makes of a Compose project: subnets, addresses, names, and comments for what has no counterpart."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Any

import pytest

from reconciler.compose.convert import ImportedProject, convert_project
from reconciler.compose.model import KEPT, ComposeService, parse_project
from reconciler.compose.names import service_labels
from reconciler.compose.override_text import Words, render_override
from reconciler.compose.topology_text import render_topology
from reconciler.errors import UsageError
from reconciler.topology.load import parse_topology
from reconciler.topology.types import Container


def imported(services: dict[str, Any], networks: dict[str, Any] | None = None, name: str = "shop") -> ImportedProject:
    data = {"name": name, "services": services, "networks": networks or {}}
    return convert_project(parse_project(json.dumps(data).encode()), ["A heading."])


def topology_text(services: dict[str, Any], networks: dict[str, Any] | None = None, name: str = "shop") -> str:
    return render_topology(imported(services, networks, name).topology)


def validated(text: str) -> dict[str, Container]:
    """The containers of a topology, which must be valid; one stands for all members of a service."""
    return {container.name: container for container in parse_topology(text.encode()).declared}


WEB = {"image": "web", "networks": {"default": None}}


# --- subnets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ({}, "front: {cidr: 10.67.208.0/24}"),
        ({"internal": True}, "front: {cidr: 10.67.208.0/24, mode: isolated}"),
        ({"ipam": {"config": [{"subnet": "172.28.0.0/16"}]}}, "front: {cidr: 172.28.0.0/16}"),
        (
            {"ipam": {"config": [{"subnet": "172.28.0.0/16", "gateway": "172.28.9.9"}]}},
            "front: {cidr: 172.28.0.0/16, gateway: 172.28.9.9}",
        ),
        ({"driver_opts": {"com.docker.network.driver.mtu": "1400"}}, "front: {cidr: 10.67.208.0/24, mtu: 1400}"),
        (
            {"driver_opts": {"com.docker.network.bridge.enable_ip_masquerade": "false"}},
            "front: {cidr: 10.67.208.0/24, mode: routed}",
        ),
        (
            {"driver_opts": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}},
            "front: {cidr: 10.67.208.0/24, mode: routed}",
        ),
        ({"enable_ipv6": True}, 'front: {cidr: [10.67.208.0/24, "fdd3:2c6a:703d:1::/64"]}'),
        ({"enable_ipv6": True, "enable_ipv4": False}, 'front: {cidr: "fdd3:2c6a:703d:1::/64"}'),
        (
            {
                "driver": "macvlan",
                "driver_opts": {"parent": "eth0", "macvlan_mode": "vepa"},
                "ipam": {"config": [{"subnet": "192.0.2.0/24"}]},
            },
            "front: {cidr: 192.0.2.0/24, mode: macvlan, uplink: eth0, type: vepa}",
        ),
    ],
)  # fmt: skip
def test_a_network_is_a_subnet(network: dict[str, Any], wanted: str) -> None:
    """Driver, prefix, gateway and families become keys of the subnet, on one line if there is nothing to add."""
    text = topology_text({"web": {"image": "web", "networks": {"front": None}}}, {"front": network})
    assert f"  {wanted}\n" in text
    validated(text)


@pytest.mark.parametrize(
    ("network", "note"),
    [
        ({"external": True, "name": "traefik"}, "an external network, traefik, which other projects may use"),
        ({"name": "own"}, "its engine calls it own"),
        ({"driver": "overlay"}, "driver overlay; here it is a bridge"),
        ({"driver": "ipvlan", "driver_opts": {"parent": "eth0"}}, "ipvlan, where all containers have the MAC address of"),
        ({"driver": "macvlan"}, "the file gives no range"),
        ({"labels": {"a": "b"}}, 'not imported: labels: {"a": "b"}'),
        ({"ipam": {"driver": "null"}}, "not imported: the IPAM driver null"),
        ({"ipam": {"config": [{"subnet": "172.28.0.0/31"}]}}, "not imported: the range 172.28.0.0/31, because it is too small"),
        ({"ipam": {"config": [{"subnet": "x\n  y: 1"}]}}, r"not imported: the range x\n  y: 1, because it is no prefix"),
        ({"driver_opts": {"com.docker.network.bridge.name": "b"}}, "the driver's option com.docker.network.bridge.name: b"),
        ({"later": {"a": 1}}, 'not imported: later: {"a": 1}'),
        ({"ipam": {"config": [{"subnet": "10.9.0.0/24", "gateway": "10.9.0.255"}]}}, "not imported: the gateway 10.9.0.255"),
        ({"ipam": {"config": [{"subnet": "10.9.0.0/24", "gateway": "10.8.0.1"}]}}, "not imported: the gateway 10.8.0.1"),
        ({"ipam": {"config": [{"subnet": "10.9.0.0/24", "ip_range": "10.8.0.0/16"}]}}, "not imported: the ip_range 10.8.0.0/16"),
        ({"driver_opts": {"com.docker.network.driver.mtu": "900"}, "enable_ipv6": True}, "not imported: an MTU of 900"),
        ({"driver_opts": {"com.docker.network.driver.mtu": "90"}}, "the driver's option com.docker.network.driver.mtu: 90"),
    ],
)  # fmt: skip
def test_what_a_subnet_does_not_have_is_a_comment(network: dict[str, Any], note: str) -> None:
    """The comment stands in the subnet, and the file is valid."""
    text = topology_text({"web": {"image": "web", "networks": {"front": None}}}, {"front": network})
    section = text.partition("subnets:\n")[2].partition("containers:")[0]
    assert note in " ".join(line.strip().removeprefix("# ").strip() for line in section.splitlines())
    validated(text)


def test_prefixes_follow_from_the_names() -> None:
    """The same project gets the same prefixes, another one others, and none of them is one that the file gives."""
    services = {"web": {"image": "a", "networks": {"a": None, "b": None, "c": None}}}
    first = [str(subnet.cidrs[0]) for subnet in imported(services).topology.subnets]
    assert first == [str(subnet.cidrs[0]) for subnet in imported(services).topology.subnets]
    assert first != [str(subnet.cidrs[0]) for subnet in imported(services, name="other").topology.subnets]
    given = imported(services, {"b": {"ipam": {"config": [{"subnet": first[0]}]}}}).topology.subnets
    assert [str(subnet.cidrs[0]) for subnet in given] == [first[1], first[0], first[2]]
    assert all(ip_network(prefix).subnet_of(ip_network("10.64.0.0/10")) for prefix in first)  # type: ignore[arg-type]


@pytest.mark.parametrize("subnet", ["10.0.0.0/8", "10.64.0.0/10"])
def test_a_network_that_covers_the_usual_prefixes_leaves_others(subnet: str) -> None:
    """A file may give one network all of 10.0.0.0/8: the next network gets a prefix that is neither in it nor Docker's."""
    services = {"web": {"image": "web", "networks": {"a": None, "b": None}}}
    text = topology_text(services, {"a": {"ipam": {"config": [{"subnet": subnet}]}}})
    assert re.search(r"b: \{cidr: 172\.16\.\d+\.0/24\}", text)
    validated(text)


@pytest.mark.parametrize("family", [4, 6])
def test_networks_that_cover_every_prefix_are_an_error(family: int) -> None:
    """If no prefix is left for a network, the sentence names it."""
    everything = {"subnet": "0.0.0.0/0" if family == 4 else "fc00::/7"}
    networks = {"a": {"ipam": {"config": [everything]}}, "b": {"enable_ipv6": family == 6}}
    with pytest.raises(UsageError, match="leave none for the network b"):
        topology_text({"web": {"image": "web", "networks": {"a": None, "b": None}}}, networks)


# --- containers -------------------------------------------------------------------------------------------------------


def test_addresses_avoid_what_the_file_gives() -> None:
    """A service without an address gets one that no other has, and that is reserved for nothing."""
    config = {"subnet": "10.9.0.0/24", "gateway": "10.9.0.11", "aux_addresses": {"nas": "10.9.0.13"}}
    services = {"a": WEB, "b": WEB, "c": {"image": "c", "networks": {"default": {"ipv4_address": "10.9.0.10"}}}, "d": WEB}
    found = imported(services, {"default": {"ipam": {"config": [config]}}})
    addresses = {name: str(one.attachments[0].addresses[0]) for name, one in found.containers.items()}
    assert addresses == {"a": "10.9.0.12", "b": "10.9.0.14", "c": "10.9.0.10", "d": "10.9.0.15"}
    validated(render_topology(found.topology))


def test_a_full_prefix_leaves_addresses_to_netctl() -> None:
    """Eight services in a /29: those that find no free address have `auto`, and no name leads to them."""
    networks = {"default": {"ipam": {"config": [{"subnet": "10.9.0.0/29"}]}}}
    found = imported({f"s{number}": WEB for number in range(8)}, networks)
    assert [bool(one.attachments[0].addresses) for one in found.containers.values()] == [True] * 5 + [False] * 3
    assert "s7:" not in render_override(found, [], {}).partition("s7:")[0]


@pytest.mark.parametrize(("service", "is_single"), [({}, True), ({"scale": 0}, True), ({"scale": 2}, False),
                                                    ({"deploy": {"replicas": 3}}, False),
                                                    ({"scale": 1, "deploy": {"replicas": 3}}, True),
                                                    ({"deploy": {"mode": "global"}}, True)])  # fmt: skip
def test_a_scaled_service_has_addresses_of_netctl_s_choice(service: dict[str, Any], is_single: bool) -> None:
    """One container has a fixed address, to which a name can lead; several have `auto`, and publish no port."""
    services = {"web": {**WEB, **service, "ports": [{"target": 80, "published": "80"}]}, "db": WEB}
    text = topology_text(services)
    assert ("default: auto" in text) != is_single
    assert ('- "80:80"' in text) == is_single
    assert ("web: 10." in render_override(imported(services), [], {})) == is_single
    validated(text)


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ({"network_mode": "host"}, "web: has the network of its host"),
        ({"network_mode": "none"}, "web: has no network"),
        ({"network_mode": "service:db"}, "web: runs in the network of db"),
        ({"network_mode": "container:x\ny"}, "web: runs in the network of another container"),
        ({"network_mode": "some_net"}, "web: is in a network of the engine's"),
        ({"provider": {"type": "model"}}, "web: a provider of another program"),
        ({"networks": {"hosts": None}}, "web: has the network `hosts`, which is a mode of Docker's"),
    ],
)
def test_what_netctl_does_not_connect_is_named(keys: dict[str, Any], note: str) -> None:
    """Such a service stands in a comment at the end, and the override leaves it as it is."""
    found = imported({"db": WEB, "web": {"image": "a", **keys}}, {"hosts": {"external": True, "name": "host"}})
    text = render_topology(found.topology)
    assert f"\n# {note}" in text
    assert "web" not in render_override(found, [], {})
    assert list(validated(text)) == ["db"]


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ({"profiles": ["debug"]}, "profiles debug: waits until `docker compose --profile debug up`"),
        ({"external_links": ["old"]}, "not imported: external_links: old"),
        ({"network_mode": "bridge", "networks": None}, "Compose: network_mode: bridge"),
        ({"later": [1]}, "not imported: later: [1]"),
        ({"networks": {"default": {"link_local_ips": ["169.254.1.1"]}}}, 'not imported: link_local_ips: ["169.254.1.1"]'),
        ({"networks": {"default": {"ipv4_address": "192.0.2.9"}}}, "not imported: the address 192.0.2.9"),
        ({"networks": {"default": {"mac_address": "01:00:00:00:00:01"}}}, "not imported: mac_address: 01:00:00:00:00:01"),
        ({"networks": {"default": {"interface_name": "lo"}}}, "not imported: interface_name: lo"),
        (
            {"networks": {"a": {"interface_name": "x"}, "b": {"interface_name": "x"}}},
            "not in b: it has another interface called x",
        ),
        ({"networks": {"default": {"interface_name": "a/b"}}}, "not imported: interface_name: a/b"),
        ({"ports": [{"target": 80}]}, "80: Docker chooses the host port"),
    ],
)
def test_what_a_container_does_not_have_is_a_comment(keys: dict[str, Any], note: str) -> None:
    """The comment stands at the service that it is about."""
    text = topology_text({"a": WEB, "web": {**WEB, **keys}, "z": WEB})
    section = text.partition("  web:\n")[2].partition("\n  z:\n")[0]
    assert f"# {note}" in section
    validated(text)


def test_options_of_a_network_are_imported() -> None:
    """A hardware address, an interface's name, the default route by gw_priority, and ports that do not reach each other."""
    use = {"mac_address": "02-42-AC-11-00-02", "interface_name": "lan0", "gw_priority": 5}
    networks = {"b": {"driver_opts": {"com.docker.network.bridge.enable_icc": "false"}}}
    text = topology_text({"web": {"image": "a", "networks": {"a": None, "b": use}}}, networks)
    wanted = '{address: 10.67.209.10, mac: "02:42:ac:11:00:02", interface: lan0, default: true, isolated: true}'
    assert f"b: {wanted}" in text
    (default,) = [each for each in validated(text)["web"].attachments if each.default]
    assert default.subnet == "b"


def test_a_network_without_a_way_out_has_no_default_route() -> None:
    """The engine gives an internal network no gateway, so `gw_priority` there decides nothing, and ports lead elsewhere."""
    service = {"image": "a", "networks": {"in": {"gw_priority": 9}, "out": None}, "ports": [{"target": 80, "published": "80"}]}
    containers = validated(topology_text({"web": service}, {"in": {"internal": True}}))
    (publication,) = containers["web"].publications
    assert publication.subnet == "out"


def test_one_hardware_address_is_one_container_s() -> None:
    """Of two services with one address in a network, the second gets a comment."""
    service = {"image": "a", "networks": {"default": {"mac_address": "02:00:00:00:00:01"}}}
    text = topology_text({"a": service, "b": service})
    assert text.count('mac: "02:00:00:00:00:01"') == 1
    assert "not imported: mac_address: 02:00:00:00:00:01" in text.partition("  b:\n")[2]


def test_a_lan_has_fixed_addresses_only() -> None:
    """There netctl chooses no address later. A scaled service, and one that finds no free address, are not on it."""
    config = [{"subnet": "192.0.2.0/24", "ip_range": "192.0.2.4/31"}]
    lan = {"driver": "macvlan", "driver_opts": {"parent": "eth0"}, "ipam": {"config": config}}
    on = {"image": "a", "networks": {"lan": None, "default": None}, "ports": [{"target": 80, "published": "80"}]}
    text = topology_text({"a": {**on, "scale": 2}, "b": on, "c": on, "d": on}, {"lan": lan})
    assert "not in lan: its 2 containers need `auto` addresses" in text.partition("  b:\n")[0]
    assert "not in lan: no address is free" in text.partition("  d:\n")[2]
    containers = validated(text)
    addresses = [[str(each.addresses[0]) for each in one.attachments if each.subnet == "lan"] for one in containers.values()]
    assert addresses == [[], ["192.0.2.4"], ["192.0.2.5"], []]


def test_a_mac_address_of_the_service_is_that_of_its_network() -> None:
    """Compose's older key at the service; the override resets it, because the engine refuses it without a network."""
    services = {"web": {**WEB, "mac_address": "02:42:ac:11:00:02"}}
    assert 'mac: "02:42:ac:11:00:02"' in topology_text(services)
    assert "mac_address: !reset null" in render_override(imported(services), [], {})


def test_known_keys_of_the_engine_make_no_comment() -> None:
    """What Compose goes on to do needs no comment: volumes, environment, health checks, and extensions."""
    kept = {key: {"any": "value"} for key in sorted(KEPT)}
    text = topology_text({"web": {**WEB, **kept, "x-own": 1, "healthcheck": {}, "depends_on": {}}})
    assert "not imported" not in text
    assert not KEPT & set(ComposeService.model_fields)


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_of_compose_become_labels() -> None:
    """Upper case, `_`, `.`, reserved words and long names; each container is still found by Compose's own names."""
    names = ["Web_App", "web-app", "web.app", "router", "host", "_", "1", "yes", "a" * 80, "a" * 81]
    text = topology_text(dict.fromkeys(names, WEB), name="a_project-with_a_very_long_name")
    containers = validated(text)
    assert set(containers) >= {
        "web-app",
        "web-app-service",
        "web-app-service-n2",
        "router-service",
        "host-service",
        "service",
        "1",
        "yes",
    }
    assert len(containers) == len(names)
    assert len(imported({"web": WEB}, name="a_project-with_a_very_long_name").topology.name) <= 20
    for name in names:
        assert f"existing: {{compose: a_project-with_a_very_long_name/{name}}}" in text


def test_no_service_has_the_name_of_another_s_container() -> None:
    """Containers of `web` are called `web-1`, `web-2` …, so a service of that name gets another; one without `web` keeps it."""
    names = ("web", "web-1", "web-2-1", "web-0", "web-12345", "broker-1", "Web_1", "b" * 60)
    labels = service_labels(names)
    assert [labels[name] for name in names[:7]] == [
        *("web", "web-1-service", "web-2-1", "web-0", "web-12345", "broker-1", "web-1-service-n2")
    ]
    assert len(labels["b" * 60]) <= 58
    assert len(set(labels.values())) == len(names)
    assert service_labels(("web-1", "WEB")) == {"web-1": "web-1", "WEB": "web-service"}


def test_two_long_projects_have_two_names() -> None:
    """A topology's name is the mark of what it owns, so two projects never share one by being cut."""
    names = {imported({"web": WEB}, name=f"my-company-production-{part}").topology.name for part in ("api", "web")}
    assert len(names) == 2


def test_the_override_has_the_names_of_neighbors() -> None:
    """Service, container_name, aliases and links, for those who share a network; the file's own extra_hosts go first."""
    services = {
        "web": {
            "image": "a",
            "networks": {"front": None, "back": None},
            "links": ["db:database", "far:x"],
            "container_name": "shop_web",
        },
        "db": {"image": "a", "networks": {"back": {"aliases": ["postgres", "bad name", "-x", "a\nb"]}}},
        "far": {"image": "a", "networks": {"other": None}},
        "own": {"image": "a", "networks": {"back": None}, "extra_hosts": ["db=192.0.2.1", "v6=::1", "old:192.0.2.2"]},
    }  # fmt: skip
    found = imported(services)
    text = render_override(found, [], {})
    web = text.partition("  web:\n")[2].partition("\n\n")[0]
    db = found.containers["db"].attachments[0].addresses[0]
    assert re.findall(r"^      (\S+): (\S+)", web, re.MULTILINE) == [
        ("web", str(found.containers["web"].attachments[0].addresses[0])),
        ("db", str(db)),
        ("postgres", str(db)),
        ("own", str(found.containers["own"].attachments[0].addresses[0])),
        ("database", str(db)),
    ]
    assert "links: !reset null" in web
    own = text.partition("  own:\n")[2].partition("\n\n")[0]
    assert "shop_web: " in own
    assert "      db:" not in own


def test_host_gateway_is_the_host_s_address_in_the_subnet() -> None:
    """The engine's own would be an address of a bridge without containers, so the list replaces the file's."""
    text = render_override(imported({"web": {**WEB, "extra_hosts": ["h:host-gateway", "x=192.0.2.2"]}}), [], {})
    assert "extra_hosts: !override\n      h: 10.67.208.1\n      x: 192.0.2.2\n" in text


def test_a_service_restarts_with_the_one_whose_network_it_has() -> None:
    """It would be left in a namespace that is gone. The condition of the file stays, and what restarts already is left alone."""
    healthy = {"condition": "service_healthy", "required": True}
    services = {
        "vpn": WEB,
        "app": {"image": "a", "network_mode": "service:vpn", "depends_on": {"vpn": healthy}},
        "more": {"image": "a", "network_mode": "service:vpn", "depends_on": {"vpn": {**healthy, "restart": True}}},
        "alone": {"image": "a", "network_mode": "host", "depends_on": {"vpn": healthy}},
    }
    text = render_override(imported(services), [], {})
    assert "  app:\n" in text
    assert "    depends_on: {vpn: {condition: service_healthy, restart: true}}\n" in text
    assert text.count("depends_on") == 1
    assert not {"  more:", "  alone:"} & set(text.splitlines())


def test_the_wait_runs_what_the_service_runs() -> None:
    """A shell waits for the carrier, and then runs the entrypoint with the command; `$` is doubled for Compose."""
    text = render_override(imported({"web": WEB}), [], {"web": Words(("/entry", "a b"), ("serve", '"$$HOME"'))})
    assert '"netctl-wait", "/entry", "a b"]\n    command: ["serve", "\\"$$HOME\\""]\n' in text
    assert 'exec \\"$$@\\"' in text


# --- hostile input ----------------------------------------------------------------------------------------------------

NASTY = "x\n  evil: {existing: true}\r\x1b[31m\u2028\u202e #: [}"


def test_foreign_text_ends_no_comment() -> None:
    """Values with line breaks and control characters stay on the lines of their comment, in both files."""
    services = {
        "web": {
            **WEB, NASTY: NASTY, "profiles": [NASTY], "external_links": [NASTY], "hostname": NASTY, "container_name": NASTY,
            "links": [f"db:{NASTY}"], "extra_hosts": [f"{NASTY}=192.0.2.1"], "ports": [{"target": NASTY, "published": NASTY}],
            "networks": {"default": {"aliases": [NASTY], "ipv4_address": NASTY, "mac_address": NASTY, "interface_name": NASTY}},
        },
        "db": WEB,
        "off": {"image": "a", "network_mode": f"container:{NASTY}"},
    }  # fmt: skip
    ipam = {"driver": NASTY, "config": [{"subnet": NASTY, "aux_addresses": {NASTY: NASTY}}]}
    options = {"parent": NASTY, NASTY: NASTY}
    networks = {"default": {"name": NASTY, "driver": NASTY, "driver_opts": options, NASTY: NASTY, "ipam": ipam}}
    found = imported(services, networks)
    for text in (render_topology(found.topology), render_override(found, [NASTY], {"web": Words((NASTY,), ())})):
        assert text.isascii() or all(char.isprintable() or char == "\n" for char in text)
        assert not re.search(r"^\s*evil:", text, re.MULTILINE)
    assert list(validated(render_topology(found.topology))) == ["web", "db"]


def test_an_uplink_is_the_name_of_an_interface() -> None:
    """The option `parent` of a macvlan is written only if it is one."""
    networks = {
        "lan": {"driver": "macvlan", "driver_opts": {"parent": "eth0; x"}, "ipam": {"config": [{"subnet": "192.0.2.0/24"}]}}
    }
    text = topology_text({"web": {"image": "a", "networks": {"lan": None}}}, networks)
    assert "uplink" not in text
    assert "not imported: the driver's option parent: eth0; x" in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot read the normalised Compose file: the document"),
        (b"[]", "the document"),
        (b'{"name": "shop", "services": {}}', "the Compose file has no services"),
        (b'{"name": "Shop/..", "services": {"a": {}}}', "name: not a project's name"),
        (b'{"name": "shop", "services": {"a\\nb": {}}}', r"services.a\nb: not a name"),
        (b'{"name": "shop", "services": {"a": {}}, "networks": {"b c": {}}}', "networks.b c: not a name"),
        (b'{"name": "shop", "services": {"a": {"ports": [{"target": 1.5}]}}}', "services.a.ports.0.target"),
        (b'{"name": "shop", "services": {"a": {"scale": "3"}}}', "services.a.scale"),
        (b'{"name": "shop", "services": {"a": {"networks": ["x"]}}}', "services.a.networks"),
        (b'{"name": "shop", "services": {"a": {"profiles": [7]}}}', "services.a.profiles.0"),
        (b"[" * 100_000, "the document"),
        (b'{"name": "shop", "services": "' + b"x" * (17 << 20) + b'"}', "larger than 16 MiB"),
    ],
)
def test_a_malformed_document_is_refused(data: bytes, said: str) -> None:
    """One sentence says which value has another form; nothing is converted or guessed."""
    with pytest.raises(UsageError) as error:
        parse_project(data)
    assert said in error.value.message
    assert "\n" not in error.value.message
