"""Uplinks that cannot carry a LAN are refused before anything is touched, with the reason and with what to write in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.uplink.candidates import read_link_facts
from reconciler.state.host import HostFacts, LinkFacts
from reconciler.state.ref import HOST
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, Snapshot
from tests.harness.topologies.full import load

MAC = "02:aa:00:00:00:11"
TEXT = """
version: 1
name: shop
hosts: {here: {connect: local}}
subnets: {lan: {cidr: 192.0.2.0/24, mode: direct}}
containers: {web: {networks: {lan: 192.0.2.50}}}
"""
UPLINK = LinkFacts("wlan0", "", MAC, 1500, addresses=("192.0.2.11/24",), routers=("192.0.2.1",))


def meet(text: str, *links: LinkFacts) -> tuple[str, str]:
    """What a user reads where the host has these links: the sentence and the help; empty if nothing conflicts."""
    facts = HostFacts(exists=True, uplink=UPLINK.name, addresses=UPLINK.addresses, links=links)
    try:
        compile_topology(load(text), {"here": facts})
    except HostError as error:
        return error.message, error.help_text
    return "", ""


@pytest.mark.parametrize("mode", ["direct", "macvlan"])
def test_a_wireless_uplink(mode: str) -> None:
    """Refused for both ways onto the LAN, with what to write instead; a cable is not, nor is a routed subnet over Wi-Fi."""
    text = TEXT.replace("direct", mode)
    message, help_text = meet(text, replace(UPLINK, is_wireless=True))
    assert "topology.yaml:5:" in message
    assert "the uplink wlan0 of host here is wireless: an access point drops frames of containers" in message
    assert "mode: routed" in help_text
    assert "net.ipv4.conf.wlan0.proxy_arp=1" in help_text
    assert meet(text, UPLINK) == ("", "")
    routed = text.replace(mode, "routed").replace("192.0.2.0/24", "10.44.0.0/24").replace("192.0.2.50", "10.44.0.10")
    assert meet(routed, replace(UPLINK, is_wireless=True)) == ("", "")


@pytest.mark.parametrize(("entry", "is_wireless"), [("wireless", True), ("phy80211", True), ("queues", False)])
def test_a_radio_is_recognised_by_sysfs(tmp_path: Path, entry: str, is_wireless: bool) -> None:
    """The kernel has a directory for the radio beside the link's; of another link of that name it says nothing."""
    (tmp_path / "wlan0" / entry).mkdir(parents=True)
    (tmp_path / "wlan0/address").write_text(f"{MAC}\n")
    for mac, kind, expected in ((MAC, "", is_wireless), ("02:aa:00:00:00:12", "", False), (MAC, "veth", False)):
        info = NamespaceInfo(links={2: LinkInfo(2, "wlan0", kind, mac, 1500, 0, up=True)})
        found = read_link_facts(KernelContext("shop", "local"), Snapshot("shop", {HOST: info}), tmp_path)
        assert [(link.name, link.is_wireless) for link in found] == [("wlan0", expected)]


def test_a_port_of_a_bridge_is_refused_with_what_fits_the_mode() -> None:
    """A direct bridge uses the bridge that is there; a macvlan has none, and stands on that bridge itself."""
    port = replace(UPLINK, master="br0")
    assert "bridge: {existing: br0}" in meet(TEXT, port)[1]
    assert meet(TEXT.replace("direct", "macvlan"), port)[1] == "write `uplink: br0`"
