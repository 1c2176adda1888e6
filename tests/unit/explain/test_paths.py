"""What `explain` says of single paths: each layer, the line of the file, the end and its remedy."""

from __future__ import annotations

import re

import pytest

from reconciler.errors import UsageError
from reconciler.explain.ask import parse_target
from reconciler.explain.remedy import find_remedy
from reconciler.explain.source import line_of, path_of
from reconciler.render.explain import compile_explanation, render_explanation
from tests.harness.explained import HEAD, SHOP, Known, known, layers


def text_of(known: Known, start: str, target: str) -> str:
    """What a user reads."""
    return render_explanation(compile_explanation(known.desired.topology, (start, target), [known.ask(start, target)]))


def test_a_policy_s_path_in_full() -> None:
    """Route, neighbor, cable, filter of the port, bridge, the policy by its line, and the target."""
    shown = text_of(known(SHOP), "web", "db:5432")
    macs = re.sub(r"02(:[0-9a-f]{2}){5}", "MAC", shown)
    assert re.sub(" +", " ", re.sub(r"v-shop--[a-z0-9]{7}", "v-web", macs)) == PATH


PATH = """\
web -> db:5432 passes tcp 10.44.0.10 > 10.45.0.20:5432
 1 web route default via 10.44.0.1 dev eth0 topology.yaml:11
 2 web neighbor 10.44.0.1 has the hardware address MAC on eth0 topology.yaml:11
 3 web link eth0 is a cable to v-web on alpha, a port of b-shop-front topology.yaml:11
 4 alpha filter v-web may send from 10.44.0.10 topology.yaml:11
 5 alpha bridge b-shop-front has that hardware address, so the host takes the packet topology.yaml:7
 6 alpha route 10.45.0.0/24 dev b-shop-back topology.yaml:8
 7 alpha filter policy from web to db allows tcp 5432 topology.yaml:16
 8 alpha neighbor 10.45.0.20 has the hardware address MAC on b-shop-back topology.yaml:13
 9 alpha bridge b-shop-back sends frames for MAC to v-shop-db-back topology.yaml:13
 10 alpha link port v-shop-db-back is the cable to eth0 of db topology.yaml:13
 11 db arrives db has 10.45.0.20, and gets port 5432/tcp from 10.44.0.10
 the answer returns to web"""


def test_each_line_is_that_of_the_record() -> None:
    """The line of a hop is the one where the file asks for its record."""
    shop = known(SHOP)
    topology, lines = shop.desired.topology, SHOP.splitlines()
    for start, target, word, wanted in (
        ("outside", "web:8080", "published", "ports"),
        ("web", "outside", "mode nat", "front:"),
        ("web", "db:5432", "policy", "allow: web"),
        ("web", "api", "wraps", "front:"),
    ):
        hop = next(hop for hop in shop.ask(start, target).there.hops if word in hop.words)
        assert hop.record
        line = line_of(topology, path_of(topology, hop.host, hop.record))
        assert wanted in lines[line - 1], (start, target)


def test_a_vxlan_wraps_the_frame_and_the_packet_of_the_tunnel_is_followed() -> None:
    """The fast path hands it to the tunnel; the other host unwraps it."""
    found = layers(known(SHOP).ask("web", "api"))
    assert found[3:5] == [("alpha", "fast path"), ("alpha", "tunnel")]
    assert ("beta", "tunnel") in found
    assert found[-1] == ("api", "arrives")


def test_routes_join_hosts_without_a_tunnel() -> None:
    """By `overlay: routes` the packet goes to the other host's underlay address."""
    text = SHOP.replace("hosts: [alpha, beta]}", "hosts: [alpha, beta], overlay: routes}")
    answer = known(text).ask("web", "api")
    assert answer.passes
    assert not any(layer == "tunnel" for _, layer in layers(answer))


def test_open_vswitch_is_followed_by_its_flows() -> None:
    """In place of the filter of a port and the bridge's table."""
    text = SHOP.replace("front: {cidr: 10.44.0.0/24, hosts: [alpha, beta]}", "front: {cidr: 10.44.0.0/24, bridge: openvswitch}")
    answer = known(text).ask("web", "db:5432")
    assert answer.passes
    assert ("alpha", "flow") in layers(answer)
    forged = known(text.replace("{allow: web, to: db, ports: [5432/tcp]}", "{allow: api, to: db}")).ask("web", "db:5432")
    assert (forged.there.end, forged.there.cause) == ("refused", "policy")


def test_macvlans_meet_by_their_mode_only() -> None:
    """In mode bridge directly, in mode private not at all."""
    text = HEAD + "subnets: {lan: {cidr: 192.0.2.0/24, mode: macvlan, type: TYPE}}\n"
    text += "containers: {one: {host: alpha, networks: {lan: 192.0.2.50}}, two: {host: alpha, networks: {lan: 192.0.2.51}}}\n"
    assert known(text.replace("TYPE", "bridge")).ask("one", "two").passes
    closed = known(text.replace("TYPE", "private")).ask("one", "two")
    assert (closed.there.end, closed.there.cause) == ("dropped", "stacked")


def test_isolated_ports_are_apart() -> None:
    """The bridge drops the frame, and the remedy names the key."""
    text = SHOP.replace("mail: {host: alpha, networks: {open: 10.46.0.30}}", "mail: {host: alpha, networks: {back: PORT}}")
    port = "{address: 10.45.0.30, isolated: true}"
    text = text.replace("PORT", port).replace("{back: 10.45.0.20}", "{back: {address: 10.45.0.20, isolated: true}}")
    answer = known(text).ask("mail", "db")
    assert (answer.there.end, answer.there.cause) == ("dropped", "isolated")
    remedy = find_remedy(answer)
    assert remedy
    assert "isolated: true" in remedy.words


def test_a_listed_sender_reaches_a_port_and_another_one_does_not() -> None:
    """`from:` decides; the host keeps what it does not forward."""
    shop = known(SHOP)
    open_ = shop.ask("198.51.100.7", "web:8443")
    assert open_.there.end == "arrives"
    closed = shop.ask("outside", "web:8443")
    assert not closed.passes
    remedy = find_remedy(closed)
    assert remedy
    assert remedy.words == "add the sender's address to `from`"


POLICY = re.compile(r"- (\{allow: .*\})$")


@pytest.mark.parametrize(
    ("start", "target"),
    [("web", "db:22"), ("api", "db:80/udp"), ("web", "db"), ("mail", "db:1"), ("db", "mail:25"), ("mail", "web:80")],
)
def test_the_policy_that_a_remedy_names_opens_the_path(start: str, target: str) -> None:
    """Written into the file as it stands there, it lets exactly this packet pass."""
    closed = known(SHOP).ask(start, target)
    assert closed.there.end == "refused"
    remedy = find_remedy(closed)
    assert remedy
    found = POLICY.search(remedy.words)
    assert found
    assert known(f"{SHOP}  - {found[1]}\n").ask(start, target).passes


def test_the_port_that_a_remedy_names_opens_the_path() -> None:
    """Published as it says, the container is reached from outside."""
    closed = known(SHOP).ask("outside", "api:90")
    assert not closed.passes
    remedy = find_remedy(closed)
    assert remedy
    assert remedy.path == ("containers", "api", "ports")
    line = re.search(r"`(ports: .*)`", remedy.words)
    assert line
    opened = SHOP.replace("{front: 10.44.0.20}}", f"{{front: 10.44.0.20}}, {line[1]}}}")
    assert known(opened).ask("outside", "api:90").passes


def test_an_outbound_remedy_opens_the_way_out() -> None:
    """Of an isolated subnet, a policy to the outside; the subnet's mode does so, too."""
    remedy = find_remedy(known(SHOP).ask("db", "outside:443"))
    assert remedy
    found = re.search(r"- (\{.*?\}), or write `mode: nat`", remedy.words)
    assert found
    assert known(f"{SHOP}  - {found[1]}\n").ask("db", "outside:443").passes
    assert known(SHOP.replace("mode: isolated", "mode: nat")).ask("db", "outside:443").passes


@pytest.mark.parametrize("text", ["db:0", "db:65536", "db:80/ip", "db:x", "[fd00::1", ":80", "db:80:80"])
def test_a_target_of_no_form_is_refused(text: str) -> None:
    """With what to write."""
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert caught.value.help_text


def test_an_unknown_name_has_a_suggestion() -> None:
    """Of a container, a host or `outside`."""
    with pytest.raises(UsageError) as caught:
        known(SHOP).ask("web", "mial")
    assert caught.value.help_text == "did you mean mail?"


def test_an_isolated_subnet_needs_another_mode_to_publish() -> None:
    """The remedy names both changes, and together they open the path."""
    remedy = find_remedy(known(SHOP).ask("outside", "db:5432"))
    assert remedy
    assert remedy.path == ("subnets", "back", "mode")
    line = re.search(r"`(ports: .*)`", remedy.words)
    assert line
    opened = SHOP.replace("mode: isolated", "mode: nat").replace("{back: 10.45.0.20}}", f"{{back: 10.45.0.20}}, {line[1]}}}")
    assert known(opened).ask("outside", "db:5432").passes


def test_a_query_for_names_goes_to_the_host_s_resolver() -> None:
    """The port of names is redirected to that of the resolver that knows what the container may know."""
    answer = known(f"{SHOP}dns: true\n").ask("web", "alpha:53/udp")
    assert answer.passes
    (hop,) = [hop for hop in answer.there.hops if hop.layer == "translate"]
    assert hop.words.startswith("queries for names go to the resolver of this host, port ")
