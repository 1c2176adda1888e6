"""What a machine holds, seen by other eyes than netctl's: `ip`, `nft`, /proc and the files under /run.

A snapshot is a set of lines, so that two of them are compared by taking one from the other. There is a line for each link,
address, route, rule and neighbor. There is one for each table, chain, rule or element of nftables, and for each kernel setting,
process and file. What the kernel draws by lot, counts, or finds out in its own time is left out. That is interface numbers,
handles, timers, counters, learnt neighbors, carriers and link-local addresses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.harness.machine import Machine

Snapshot = frozenset[str]

DRAWN = frozenset(
    [
        "ifindex",
        "link_index",
        "link_netnsid",
        "handle",
        "packets",
        "bytes",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "message_age_timer",
        "forward_delay_timer",
        "hold_timer",
        "designated_port",
        "designated_root",
        "designated_bridge",
        "designated_cost",
        "id",
        "no",
        "topology_change_ack",
        "config_pending",
        "operstate",
        "timestamp",
        "num_tx_queues",
        "num_rx_queues",
        "prefixlen_info",
        "index",
        "stats64",
        "used",
        "confirmed",
        "updated",
        "refcnt",
        "probes",
        "fdb_n_learned",
    ]
)
NOTICED = ("LOWER_UP", "NO-CARRIER", "linkdown")
"""Flags that follow the carrier, which a busy machine notices later."""
SCRIPT = r"""
look() {
    echo "= netns $1"
    printf 'link show\naddress show\nrule show\nroute show table all\n' > /run/.look
    printf 'neighbor show nud permanent\nneighbor show proxy\n' >> /run/.look
    echo "= ip"; ip -j -d -b /run/.look
    printf 'rule show\nroute show table all\n' > /run/.look
    echo "= ip"; ip -6 -j -d -b /run/.look
    rm -f /run/.look
    echo "= fdb"; bridge fdb show
    case $1 in .|*.lab.*) echo "= nft"; nft -j list ruleset;; esac
    echo "= sysctl"; cd /proc/sys/net; grep -rs . ipv4/ip_forward ipv4/conf ipv6/conf ipv4/neigh/default ipv6/neigh/default
}
if [ "${1:-}" = look ]; then look "$2"; exit; fi
look .
for path in $(ls -d /run/netns/* 2>/dev/null); do nsenter --net=$path sh "$0" look ${path##*/}; done
echo "= netns machine"
echo "= file"; find /run -mindepth 1 -printf '%p %y\n'
echo "= remembered"; cat /run/netctl/*/sysctl 2>/dev/null
echo "= process"; ps -eo args=
"""


def read_live(machine: Machine) -> Snapshot:
    """Everything, in the machine and in each namespace under its /run/netns."""
    script = machine.folder / "look.sh"
    if not script.exists():
        script.write_text(SCRIPT)
    return frozenset(parse_live(machine.run("sh", str(script)).out))


def parse_live(text: str) -> Iterator[str]:
    """The lines of a snapshot from what the script prints. A line with `= ` at its start begins a part; no tool prints one."""
    netns, part = "", ""
    for line in text.splitlines():
        if line.startswith("= "):
            _, part, *rest = line.split(" ")
            netns = rest[0] if rest else netns
        elif part in {"ip", "nft"}:
            yield from (f"{netns}: {what}" for what in _parse_objects(part, line) if not _is_late(what))
        elif part == "process":
            # No part of what is there: those that look or have ended, and what is forked from the test.
            looks = line.startswith(("sh ", "ps ", "nsenter ", "[")) or "pytest" in line
            if line and not looks:
                yield f"process: {line}"
        elif part != "fdb" or "static" in line.split():
            yield f"{netns}: {part} {line.replace(chr(9), ' ')}"


def _is_late(what: str) -> bool:
    """What the kernel makes by itself for IPv6 on a link, a moment after it has noticed the carrier."""
    if '"type": "anycast"' in what:  # a router's own, for each of its addresses
        return True
    # IPv6's route to an own address, from a work queue (net/ipv6/addrconf.c, addrconf_dad_work); the address is a line itself.
    if all(word in what for word in ('"table": "local"', '"type": "local"', '"pref"')):
        return True
    return ("fe80::" in what or '"ff00::/8"' in what) and ('"protocol": "kernel"' in what or what.startswith("address "))


def _parse_objects(word: str, text: str) -> Iterator[str]:
    if not text.startswith(("[", "{")):
        return
    found = json.loads(text)
    for item in found["nftables"] if word == "nft" else found:
        if "metainfo" in item or not item:
            continue
        if "addr_info" in item:
            yield from (f"address {item['ifname']} {_render(each)}" for each in item["addr_info"])
        elif word == "nft" and {"elem", "timeout"} & next(iter(item.values())).keys():
            kind, body = next(iter(item.items()))
            # What has a time limit was written by packets.
            kept = [] if "timeout" in body else body["elem"]
            yield from (f"nft element {body['family']} {body['table']} {body['name']} {_render(each)}" for each in kept)
            yield f"nft {kind} {_render({key: value for key, value in body.items() if key != 'elem'})}"
        elif "linkinfo" in item or "link_type" in item:
            # The local end of a veth has an address drawn by lot, in whatever namespace it is.
            if item["ifname"].startswith(("v-", "h-")) or item["ifname"] == "outside":
                item.pop("address")
            yield f"link {_render(item)}"
        else:
            yield f"{word} {_render(item)}"


def _render(value: Any) -> str:
    return json.dumps(_strip(value), sort_keys=True)


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strip(each) for key, each in value.items() if key not in DRAWN}
    return [_strip(each) for each in value if each not in NOTICED] if isinstance(value, list) else value


def differences(before: Snapshot, after: Snapshot) -> str:
    """For people: what is gone (-) and what has come (+); "" where both are the same."""
    lines = sorted([f"- {line}" for line in before - after] + [f"+ {line}" for line in after - before], key=lambda line: line[2:])
    return "\n".join(lines)


def read_pids(machine: Machine, words: str) -> list[int]:
    """The processes whose command line holds these words, as the machine numbers them; shells that wait left out."""
    found = machine.run("pgrep", "-fx", words, check=False).out.split()
    return [int(pid) for pid in found]
