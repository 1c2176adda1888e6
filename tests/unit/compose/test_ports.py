"""Each form of a published port of Compose becomes that of a topology, or a comment with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.compose.model import Port
from reconciler.compose.ports import PortClaims, convert_ports
from reconciler.topology.model.ports import PublicationModel


def converted(*ports: dict[str, Any], families: tuple[int, ...] = (4,)) -> list[tuple[str, str]]:
    claims = PortClaims()
    found = convert_ports([Port.model_validate(port) for port in ports], "web", families, claims)
    return [(each.text, each.note) for each in found]


@pytest.mark.parametrize(
    ("port", "text"),
    [
        ({"target": 80, "published": "8080", "protocol": "tcp", "mode": "ingress"}, "8080:80"),
        ({"target": 80, "published": 8080}, "8080:80"),
        ({"target": 53, "published": "53", "protocol": "udp"}, "53:53/udp"),
        ({"target": 36412, "published": "36412", "protocol": "sctp"}, "36412:36412/sctp"),
        ({"target": 443, "published": "443", "protocol": "udp", "mode": "host"}, "443:443/udp"),
        ({"target": 80, "published": "80", "host_ip": "127.0.0.1"}, "127.0.0.1:80:80"),
        ({"target": 80, "published": "80", "host_ip": "0.0.0.0"}, "0.0.0.0:80:80"),
        ({"target": "9000-9002", "published": "9000-9002"}, "9000-9002:9000-9002"),
        ({"target": "65535", "published": "1"}, "1:65535"),
    ],
)
def test_a_port_with_a_counterpart(port: dict[str, Any], text: str) -> None:
    """It is written in the short form, which the model accepts."""
    assert converted(port) == [(text, "")]
    PublicationModel.model_validate(text)


def test_ipv6_addresses_need_the_family() -> None:
    """A port on an IPv6 address is published if the container has an IPv6 address, else a comment says why not."""
    port = {"target": 80, "published": "80", "host_ip": "2001:db8::1"}
    assert converted(port, families=(4, 6)) == [("[2001:db8::1]:80:80", "")]
    assert converted(port) == [("", "[2001:db8::1]:80:80: the container has no IPv6 address")]


def test_ports_in_a_row_are_one_range() -> None:
    """Compose writes a range as single ports; they are merged if protocol, address and distance are equal, and only then."""
    row = [{"target": 81 + step, "published": str(8081 + step), "protocol": "udp"} for step in range(3)]
    assert converted(*row) == [("8081-8083:81-83/udp", "")]
    assert converted(row[0], {**row[1], "protocol": "tcp"}) == [("8081:81/udp", ""), ("8082:82", "")]
    assert converted(row[0], {**row[1], "target": 90}) == [("8081:81/udp", ""), ("8082:90/udp", "")]
    assert converted(row[0], {**row[1], "host_ip": "127.0.0.1"}) == [("8081:81/udp", ""), ("127.0.0.1:8082:82/udp", "")]


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ({"target": 80}, 'Docker chooses the host port; write "PORT:80"'),
        ({"target": 80, "published": "0"}, "Docker chooses"),
        ({"target": 80, "published": "99999"}, "a port is 1 to 65535"),
        ({"target": 10**30, "published": "80"}, "no port"),
        ({"target": -80, "published": "80"}, "no port"),
        ({"target": 80, "published": "90-80"}, "begins with the lower one"),
        ({"target": "80-82", "published": "8080-8081"}, "different lengths"),
        ({"target": 80, "published": "80", "protocol": "icmp"}, "none of tcp, udp and sctp"),
        ({"target": 80, "published": "80", "host_ip": "::1"}, "forwards nothing from [::1]"),
        ({"target": 80, "published": "80", "host_ip": "fe80::1%eth0"}, "zone"),
        ({"target": 80, "published": "80", "host_ip": "224.0.0.1"}, "cannot listen"),
        ({"target": 80, "published": "80", "host_ip": "localhost\n- x"}, "no IP address"),
        ({"target": "80\n  - 1:1", "published": "80"}, "no port"),
        ({"target": "٨٠", "published": "80"}, "no port"),
    ],
)
def test_a_port_without_a_counterpart_is_a_comment(port: dict[str, Any], reason: str) -> None:
    """Nothing is published, and the comment has the port and the reason."""
    ((text, note),) = converted(port, families=(4, 6))
    assert text == ""
    assert reason in note


def test_a_range_for_one_port_is_its_first() -> None:
    """Docker takes the first free one; netctl publishes the first, and says so."""
    (comment, published) = converted({"target": 80, "published": "8080-8085"})
    assert published == ("8080:80", "")
    assert "first free port of 8080-8085" in comment[1]


def test_a_port_has_one_container() -> None:
    """Two services that publish one port, of which profiles start one: the second gets a comment, and so does an overlap."""
    claims = PortClaims()
    ports = [Port(target=80, published="8080-8089", host_ip="127.0.0.1"), Port(target=80, published="443")]
    list(convert_ports([Port(target=80, published="8085")], "cpu", (4,), claims))
    found = [(each.text, each.note) for each in convert_ports(ports[1:], "gpu", (4,), claims)]
    assert found == [("443:80", "")]
    (one,) = convert_ports([Port(target="8080-8089", published="8080-8089", host_ip="127.0.0.1")], "gpu", (4,), claims)
    assert "cpu publishes it above" in one.note
    (other,) = convert_ports([Port(target=80, published="8085", protocol="udp")], "gpu", (4,), claims)
    assert other.text == "8085:80/udp"
