"""What an engine runs becomes a topology: live addresses, ports, and the commands that disconnect it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.cli.import_ import disconnect_commands
from reconciler.compose.running import ImportedEngine, convert_engine
from reconciler.compose.topology_text import render_topology
from reconciler.errors import HostError
from reconciler.topology.load import parse_topology

NETWORKS: list[dict[str, Any]] = [
    {
        "Name": "bridge", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]},
        "Options": {"com.docker.network.bridge.name": "docker0", "com.docker.network.driver.mtu": "1500",
                    "com.docker.network.bridge.enable_icc": "true"},
    },
    {"Name": "host", "Driver": "host", "IPAM": {"Config": None}, "Options": None},
    {"Name": "none", "Driver": "null", "IPAM": {"Config": []}, "Options": {}},
    {
        "Name": "shop_front", "Driver": "bridge", "EnableIPv6": True, "Options": {},
        "IPAM": {"Config": [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}, {"Subnet": "fd00:5::/64"}]},
    },
    {"Name": "shop_back", "Driver": "bridge", "Internal": True, "IPAM": {"Config": [{"Subnet": "172.19.0.0/16"}]}},
]  # fmt: skip


def container(name: str, networks: dict[str, str], ports: dict[str, Any] | None = None, mode: str = "default") -> dict[str, Any]:
    endpoints = {key: {"IPAddress": address, "GlobalIPv6Address": ""} for key, address in networks.items()}
    host = {"NetworkMode": mode, "PortBindings": ports or {}}
    return {"Name": f"/{name}", "NetworkSettings": {"Networks": endpoints}, "HostConfig": host, "Config": {"Env": ["A=secret"]}}


def engine(*containers: dict[str, Any]) -> ImportedEngine:
    return convert_engine("docker", containers, NETWORKS, ["A heading."])


def test_live_addresses_stay() -> None:
    """Each container keeps its addresses, and is found by its name in the engine; an internal network is isolated."""
    found = engine(
        container("shop_web.1", {"shop_front": "172.18.0.2", "shop_back": "172.19.0.7"}),
        container("db", {"shop_back": "172.19.0.3"}),
    )
    text = render_topology(found.topology)
    topology = parse_topology(text.encode())
    web = topology.containers["shop-web-1"]
    assert web.engine_name == "shop_web.1"
    assert {each.subnet: [str(address) for address in each.addresses] for each in web.attachments} == {
        "shop-front": ["172.18.0.2"],
        "shop-back": ["172.19.0.7"],
    }
    assert topology.subnets["shop-back"].mode == "isolated"
    assert "secret" not in text


def test_the_default_network_keeps_its_prefix() -> None:
    """Docker's own bridge cannot be removed, so its containers get another prefix, and addresses that netctl chooses."""
    found = engine(container("web", {"bridge": "172.17.0.2"}))
    topology = parse_topology(render_topology(found.topology).encode())
    assert str(topology.subnets["bridge"].cidrs[0]).startswith("10.")
    assert topology.containers["web"].attachments[0].addresses == ()
    assert topology.subnets["bridge"].mtu is None


def test_published_ports() -> None:
    """A port of both families is one; each of one family, and each protocol, stays what it is."""
    ports = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "81/tcp": [{"HostIp": "", "HostPort": "8081"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
        "82/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8082"}],
        "9000/tcp": [{"HostIp": "", "HostPort": ""}],
        "9001/tcp": None,
    }
    text = render_topology(engine(container("web", {"shop_front": "172.18.0.2"}, ports)).topology)
    listed = [line.strip() for line in text.partition("ports:\n")[2].splitlines()]
    assert [line for line in listed if line.startswith("-")] == [
        '- "127.0.0.1:5353:53/udp"',
        '- "8080-8081:80-81"',
        '- "0.0.0.0:8082:82"',
    ]
    assert any("9000: Docker chooses the host port" in line for line in listed)
    parse_topology(text.encode())


def test_the_commands_before_the_first_apply() -> None:
    """Each endpoint is disconnected and each network removed, except Docker's own; names are quoted for a shell."""
    found = engine(
        container("web", {"shop_front": "172.18.0.2", "bridge": "172.17.0.2"}), container("db", {"shop_front": "172.18.0.3"})
    )
    assert disconnect_commands(found.networks) == (
        "docker network disconnect bridge web",
        "docker network disconnect shop_front web",
        "docker network disconnect shop_front db",
        "docker network rm shop_front",
    )
    assert disconnect_commands({"a": ("b; rm",)})[0] == "docker network disconnect 'b; rm' a"


def test_others_are_named() -> None:
    """Containers of the host's network, and without one, stand in a comment."""
    found = engine(container("web", {"shop_front": "172.18.0.2"}), container("agent", {"host": ""}, mode="host"))
    assert "# agent: is in no network of the engine's (network mode host)" in render_topology(found.topology)


def test_a_container_in_the_network_of_another_names_it() -> None:
    """Docker stores an id of the other one, so the comment has the name in its place."""
    vpn = {**container("vpn", {"shop_front": "172.18.0.2"}), "Id": "c8" * 32}
    text = render_topology(engine(vpn, container("app", {}, mode=f"container:{'c8' * 32}")).topology)
    assert "# app: runs in the network of vpn, which it joined when it started; restart it after vpn" in text


def test_a_container_of_compose_has_a_comment() -> None:
    """Compose creates its networks again with the next `up`, so its own file is the one to import."""
    found = container("shop-web-1", {"shop_front": "172.18.0.2"})
    found["Config"]["Labels"] = {"com.docker.compose.project": "shop\n"}
    assert "# of the Compose project shop\\n: import its file in place of this" in render_topology(engine(found).topology)


@pytest.mark.parametrize("answer", [{"Name": 7}, {"Name": "/x", "NetworkSettings": {"Networks": []}, "HostConfig": {}}, {}])
def test_an_answer_of_another_form_is_an_error(answer: dict[str, Any]) -> None:
    """The engine may be another program: the message says which part is not as expected."""
    with pytest.raises(HostError, match="cannot import: the engine describes"):
        engine(answer)
