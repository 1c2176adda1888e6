"""The firewalls of others: what drops packets of a topology is named before an apply and by verify; nothing else is a warning."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.topologies.local import furnish, write

pytestmark = pytest.mark.kernel

TEXT = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  app: {networks: {front: [10.44.0.11, "fd44::11"]}}
  db: {networks: {back: 10.45.0.20}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""


def table(body: str, family: str = "inet") -> str:
    return f"nft -f - <<END\ntable {family} strict {{\n{body}\n}}\nEND\n"


FORWARD, INPUT, OUTPUT = (f"type filter hook {hook} priority 5;" for hook in ("forward", "input", "output"))
DROPS = {
    "an input policy": (table(f"chain enter {{ {INPUT} policy drop; iifname lo accept; }}"), "inet strict enter"),
    "an output policy": (table(f"chain leave {{ {OUTPUT} policy drop; oifname lo accept; }}"), "inet strict leave"),
    "a forward policy": (
        table(f"chain pass {{ {FORWARD} policy drop; ct state established accept; }}"),
        "inet strict pass",
    ),
    "a rule for a promised port": (
        table(f"chain pass {{ {FORWARD} tcp dport 5432 drop; }}"),
        "inet strict pass tcp dport 5432 drop",
    ),
    "a set of ports": (table(f"chain pass {{ {FORWARD} tcp dport {{ 25, 5432 }} reject; }}"), "inet strict pass tcp dport"),
    "a range of ports": (table(f"chain pass {{ {FORWARD} tcp dport 5000-6000 drop; }}"), "inet strict pass tcp dport 5000-6000"),
    "a rule for all": ("iptables -A FORWARD -j DROP", "ip filter FORWARD"),
    "a rule of iptables for a port": ("iptables -A FORWARD -p tcp --dport 5432 -j DROP", "ip filter FORWARD tcp dport 5432"),
    "a rule behind a jump": ("iptables -N MINE; iptables -A MINE -j REJECT; iptables -A FORWARD -j MINE", "ip filter FORWARD"),
    "a rule of iptables-legacy": ("iptables-legacy -A FORWARD -j DROP", "ip filter FORWARD"),
    "a policy of iptables-legacy": ("iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -i lo -j ACCEPT", "ip filter INPUT"),
    "a bridge's forward hook": (table(f"chain pass {{ {FORWARD} policy drop; }}", "bridge"), "bridge strict pass"),
    "a bridge's input hook": (table(f"chain enter {{ {INPUT} drop; }}", "bridge"), "bridge strict enter"),
    "a rule that names the bridge": (table(f"chain pass {{ {FORWARD} iifname b-here-front drop; }}"), "inet strict pass"),
    "all but another's link": (table(f"chain pass {{ {FORWARD} iifname != docker0 drop; }}"), "inet strict pass"),
}
HARMLESS = {
    "Docker's isolation": """
        iptables -N ISO; iptables -N ISO2; iptables -A FORWARD -j ISO
        iptables -A ISO -i docker0 ! -o docker0 -j ISO2; iptables -A ISO2 -o docker0 -j DROP; iptables -A ISO2 -j RETURN
        iptables -t raw -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP""",
    "libvirt": """
        iptables -N LIBVIRT_FWI; iptables -A FORWARD -j LIBVIRT_FWI; iptables -A LIBVIRT_FWI -o virbr0 -j REJECT
        iptables -N LIBVIRT_FWO; iptables -A FORWARD -j LIBVIRT_FWO; iptables -A LIBVIRT_FWO -i virbr0 -j REJECT""",
    "invalid packets": "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP;"
    + table(f"chain pass {{ {FORWARD} ct state invalid drop; }}\n chain enter {{ {INPUT} ct state vmap {{ invalid : drop }}; }}"),
    "a rate": table(f"chain pass {{ {FORWARD} limit rate over 100000/second drop; }}"),
    "fail2ban": table(f"set bad {{ type ipv4_addr; }}\n chain enter {{ {INPUT} tcp dport 22 ip saddr @bad reject; }}"),
    "ports of the host": table(f"chain enter {{ {INPUT} tcp dport {{ 22, 25 }} drop; udp dport 53 drop; }}"),
    "a port that the file does not promise": table(f"chain pass {{ {FORWARD} tcp dport 25 drop; }}"),
    "a host's own firewall that answers pings": table(
        f"chain enter {{ {INPUT} policy drop; ct state established accept; iifname lo accept;"
        " meta l4proto { icmp, ipv6-icmp } accept; tcp dport 22 accept; }"
    ),
    "a link of another's": table(f"chain pass {{ {FORWARD} iifname theirs drop; oifname theirs drop; iifname lo drop; }}"),
    "a drop behind netctl's mark": table(f"chain pass {{ {FORWARD} meta mark and 0x1000 == 0x1000 accept; drop; }}"),
    "iptables behind netctl's mark": "iptables -P FORWARD DROP; iptables -A FORWARD -m mark --mark 0x1000/0x1000 -j ACCEPT",
    "accepted addresses": table(f"chain pass {{ {FORWARD} ip saddr 198.51.100.7 drop; }}"),
}
RESET = (
    "iptables -P FORWARD ACCEPT; iptables -F; iptables -X; iptables -t raw -F; "
    "iptables-legacy -P INPUT ACCEPT; iptables-legacy -F; nft delete table inet strict 2>/dev/null || true; "
    "nft delete table bridge strict 2>/dev/null || true"
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """TEXT, applied, on a machine with an uplink."""
    for name in ("root", "nft"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("others"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        furnish(machine)
        done, _ = quick_netctl(machine, "apply", write(machine, TEXT))
        assert done.status == 0, done.err
        assert "warning" not in done.err
        yield machine
    finally:
        machine.end()


@pytest.mark.parametrize("name", DROPS)
def test_a_drop_is_named_by_diff_and_by_verify(live: Machine, name: str) -> None:
    """Diff warns and says what helps, status has it as foreign, and verify, whose probes fail, names it as the suspect."""
    script, detail = DROPS[name]
    file = live.folder / "topology.yaml"
    live.sh(script)
    try:
        told, _ = quick_netctl(live, "diff", file)
        assert told.status == 0
        assert re.search(rf"^warning: one: .* \({re.escape(detail)}", told.err, re.MULTILINE), told.err
        status, _ = quick_netctl(live, "status", file)
        assert detail in status.out
        verified, _ = quick_netctl(live, "verify", file)
        assert verified.status == 6, verified.out
        assert f"drops it ({detail}" in verified.out, verified.out
    finally:
        live.sh(RESET)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_drops_nothing_of_netctls_is_no_warning(live: Machine, name: str) -> None:
    """Rules about others' links and addresses, invalid packets, rates and other ports are silent, and every probe passes."""
    file = live.folder / "topology.yaml"
    live.sh(HARMLESS[name])
    try:
        told, _ = quick_netctl(live, "diff", file)
        assert (told.status, told.err) == (0, "")
        verified, _ = quick_netctl(live, "verify", file)
        assert verified.status == 0, verified.out
    finally:
        live.sh(RESET)


def test_what_helps_helps(live: Machine) -> None:
    """The command that the warning prints ends it, and the probes pass again."""
    file = live.folder / "topology.yaml"
    live.sh("iptables -A FORWARD -j DROP")
    try:
        told, _ = quick_netctl(live, "diff", file)
        live.sh(told.err.partition("help: ")[2].splitlines()[0])
        assert quick_netctl(live, "diff", file)[0].err == ""
        assert quick_netctl(live, "verify", file)[0].status == 0
    finally:
        live.sh(RESET)


TWO = """\
version: 1
name: pair
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets: {wide: {cidr: 10.47.0.0/24, overlay: vxlan}}
containers:
  left: {host: alpha, networks: {wide: auto}}
  right: {host: beta, networks: {wide: auto}}
"""


def test_a_firewall_that_drops_a_vxlan(live: Machine) -> None:
    """A host's own firewall that lets pings in and no VXLAN is named, and silent once it lets UDP 4789 in."""
    file = write(live, TWO, "pair.yaml")
    assert quick_netctl(live, "apply", file)[0].status == 0
    try:
        body = f"chain enter {{ {INPUT} policy drop; ct state established accept; meta l4proto icmp accept; }}"
        live.sh(table(body), netns="pair.lab.beta")
        told, _ = quick_netctl(live, "diff", file)
        assert "warning: beta: nftables table inet strict drops VXLAN packets (inet strict enter)" in told.err
        assert "alpha" not in told.err
        live.sh(f"PATH={Path(sys.executable).parent}:$PATH\n" + told.err.partition("help: ")[2].splitlines()[0])
        assert quick_netctl(live, "diff", file)[0].err == ""
        live.run("ping", "-c1", "-W2", live.sh("hostname -I", netns="pair.right").split()[0], netns="pair.left")
    finally:
        assert quick_netctl(live, "destroy", "--yes", file)[0].status == 0
