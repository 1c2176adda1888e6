"""The first floor: what a careful administrator writes by hand, `ip -batch`, `bridge -batch` and `nft -f` from one shell script.

The module run.py writes it beforehand and measures only `sh apply.sh`. It makes what netctl makes, in as few processes as
iproute2 allows. The host's side is one batch, and each container has one shell that becomes an `ip -batch` of its own.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.scenario import (
    BRIDGE,
    BRIDGE_MAC,
    GATEWAY,
    GROUP,
    HOST,
    NETWORK,
    OUTSIDE,
    PREFIX,
    PROTOCOL,
    ROUTER,
    Wire,
)

LAB = f"""\
ip -batch - <<'END'
netns add {ROUTER}
netns add {OUTSIDE}
netns add {HOST}
END
ip -n {ROUTER} -batch - <<'END'
link set lo up
link add br0 type bridge forward_delay 0
addr add 192.0.2.1/24 dev br0
link add p-alpha type veth peer name eth0 netns {HOST}
link set p-alpha master br0 up
link add p-outside type veth peer name eth0 netns {OUTSIDE}
addr add 203.0.113.1/24 dev p-outside
link set p-outside up
link set br0 up
END
nsenter --net=/run/netns/{ROUTER} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ip -n {OUTSIDE} -batch - <<'END'
link set lo up
link set eth0 up
addr add 203.0.113.10/24 dev eth0
route add default via 203.0.113.1
END
"""


def write_scripts(folder: Path, links: list[Wire], ruleset: str) -> None:
    """Write apply.sh, read.sh, port.sh and destroy.sh, and the batches that they feed to ip and bridge, into `folder`."""
    (folder / "ruleset.nft").write_text(ruleset)
    (folder / "namespaces").write_text("".join(f"netns add {w.netns}\n" for w in links))
    (folder / "host").write_text(_host_batch(links))
    (folder / "ports").write_text("".join(f"link set dev {w.port_name} hairpin on\n" for w in links))
    for wire in links:
        (folder / wire.name).write_text(_container_batch(wire))
    loop = " ".join(w.name for w in links)
    (folder / "apply.sh").write_text(
        f"""set -e
cd {folder}
{LAB}
nsenter --net=/run/netns/{HOST} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; exec ip -batch -' <<'END'
link set lo up
link set eth0 up
addr add 192.0.2.11/24 dev eth0
route add default via 192.0.2.1
link add {BRIDGE} address {BRIDGE_MAC} group {GROUP} type bridge forward_delay 0 mcast_snooping 0 stp_state 0
link set {BRIDGE} up
addr add {GATEWAY}/{PREFIX} dev {BRIDGE} noprefixroute
route add {NETWORK}/{PREFIX} dev {BRIDGE} proto {PROTOCOL}
END
nsenter --net=/run/netns/{HOST} nft -f ruleset.nft
ip -batch namespaces
for c in {loop}; do
    nsenter --net=/run/netns/bench.$c sh -c 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; exec ip -batch $0' $c
done
ip -n {HOST} -batch host
bridge -n {HOST} -batch ports
"""
    )
    shows = "link show\\naddr show\\nroute show\\nneigh show\\n"
    (folder / "read.sh").write_text(
        f"""set -e
printf '{shows}' > {folder}/shows
ip -n {HOST} -batch {folder}/shows
nsenter --net=/run/netns/{HOST} nft -j list table inet netctl-bench
for c in {loop}; do ip -n bench.$c -batch {folder}/shows; done
"""
    )
    (folder / "destroy.sh").write_text(
        f"set -e\nip -n {HOST} link del group {GROUP}\nip -batch - <<'END'\n"
        + "".join(f"netns del {w.netns}\n" for w in links)
        + "".join(f"netns del {name}\n" for name in (HOST, ROUTER, OUTSIDE))
        + "END\n"
    )


def _host_batch(links: list[Wire]) -> str:
    lines = []
    for w in links:
        lines.append(f"link set {w.port_name} addrgenmode none")  # before it is up
        lines.append(f"link set {w.port_name} group {GROUP} alias {w.alias} master {BRIDGE} up")
        if w.altname != w.port_name:
            lines.append(f"link property add dev {w.port_name} altname {w.altname}")
        lines.append(f"neigh add {w.address} lladdr {w.mac} dev {BRIDGE} nud permanent protocol {PROTOCOL}")
    return "\n".join(lines) + "\n"


def _container_batch(wire: Wire) -> str:
    """Made from inside, so that both ends are made in place and nothing has to be moved."""
    return f"""\
link set lo up
link add eth0 address {wire.mac} type veth peer name {wire.port_name} netns {HOST}
link set eth0 up
addr add {wire.address}/{PREFIX} dev eth0 noprefixroute
route add {NETWORK}/{PREFIX} dev eth0 proto {PROTOCOL}
route add default via {GATEWAY} proto {PROTOCOL}
neigh add {GATEWAY} lladdr {BRIDGE_MAC} dev eth0 nud permanent protocol {PROTOCOL}
"""
