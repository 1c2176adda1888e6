"""Follows single packets through all nftables rules of a host (nft(8), `meta nftrace`; `nft monitor trace`).

The rules that mark the packets are in tables of their own. These tables have the flag `owner`. So the kernel deletes them
when their socket is closed, also by a kill (nft_rcv_nl_event in nf_tables_api.c, Linux 5.12). No rule of another table changes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from reconciler.errors import HostError
from reconciler.kernel.netfilter.nft import NftSession
from reconciler.kernel.netfilter.set_values import text_of_name
from reconciler.kernel.netfilter.table_dump import FAMILIES, GENERIC, NETLINK_NETFILTER, ChainInfo, TableReader
from reconciler.kernel.netlink.rtnetlink import SOL_NETLINK, NetlinkError, parse_attributes, parse_messages
from reconciler.kinds.firewall.fast_path import parse_hook_name
from reconciler.kinds.firewall.program import parse_table_name
from reconciler.state.steps.firewall import NftCommand
from reconciler.state.steps.step import StepError
from reconciler.state.trace import TracedPacket, TraceEvent, TraceRequest

TABLE = "netctl_trace_{topology}"
"""It is in no topology's form (`kinds.firewall.program`), so no reading takes it for a part of one."""
PRIORITY = -500
"""Before all chains of netctl, and before connection tracking."""
NFNLGRP_NFTRACE = 9  # linux/netfilter/nfnetlink.h
NFT_MSG_TRACE = 0xA11  # NFNL_SUBSYS_NFTABLES << 8 | 17
NETLINK_ADD_MEMBERSHIP = 1
TRACE_TABLE, TRACE_CHAIN, TRACE_HANDLE, TRACE_TYPE, TRACE_VERDICT, TRACE_IIF, TRACE_OIF = 1, 2, 3, 4, 5, 10, 12
TYPE_POLICY, TYPE_RETURN, TYPE_RULE = 1, 2, 3
VERDICT_CODE, VERDICT_CHAIN = 1, 2
VERDICTS = {0: "drop", 1: "accept", 2: "stolen", -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"}
"""NF_ and NFT_ verdicts (linux/netfilter.h, linux/netfilter/nf_tables.h)."""
RECEIVE_BYTES = 1 << 16
READS_MAX = 4096
EVENTS_MAX = 2000
"""The most events of one trace."""
BITS = {4: (96, 32), 6: (64, 128)}
"""Where the source address is in a header of a family, and how long an address is; the target follows it."""
ETHERNET_BITS = 112


class Tracer:
    """A running trace, in the namespace of the thread that creates it."""

    def __init__(self, topology: str, request: TraceRequest) -> None:
        """HostError if the kernel cannot trace."""
        name = TABLE.format(topology=topology.replace("-", "_"))
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._names = dict(socket.if_nameindex())
        self._chains: dict[tuple[str, str, str], list[int]] = {}
        self._texts: dict[tuple[str, str, str], dict[int, str]] = {}
        self._table = name
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
            self._session = NftSession()
            self._session.run((NftCommand("", render_tables(name, request)),))
        except (OSError, StepError) as error:
            self._socket.close()
            raise HostError(f"cannot trace packets here: {getattr(error, 'message', error)}") from error

    def finish(self) -> tuple[TraceEvent, ...]:
        """What was seen. It deletes the tables, and closes the sockets."""
        try:
            raw = list(self._drain())
            events = tuple(self._event(*one) for one in raw[:EVENTS_MAX])
        finally:
            self.close()
        return events

    def close(self) -> None:
        """Delete the tables."""
        with contextlib.suppress(StepError):
            tables = (f"delete table {family} {self._table}" for family in ("inet", "bridge", "netdev"))
            for text in tables:
                with contextlib.suppress(StepError):
                    self._session.run((NftCommand("", text + "\n"),))
        self._socket.close()
        del self._session

    def _drain(self) -> Iterator[tuple[str, dict[int, bytes]]]:
        """The raw events but those of the trace's own tables."""
        for _ in range(READS_MAX):
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except (BlockingIOError, NetlinkError):
                return
            except OSError:
                continue  # ENOBUFS: some were lost
            for kind, _flags, _sequence, body in parse_messages(data):
                if kind != NFT_MSG_TRACE:
                    continue
                found = {number: bytes(value) for number, value in parse_attributes(body, GENERIC.size)}
                family = next((name for name, number in FAMILIES.items() if number == body[0] and name), "")
                if text_of_name(found.get(TRACE_TABLE, b"")) != self._table:
                    yield family, found

    def _event(self, family: str, found: dict[int, bytes]) -> TraceEvent:
        table, chain = text_of_name(found.get(TRACE_TABLE, b"")), text_of_name(found.get(TRACE_CHAIN, b""))
        event = TraceEvent(
            family=family,
            table=table,
            chain=chain,
            number=0,
            verdict=_verdict_of(found),
            in_dev=self._link(found.get(TRACE_IIF)),
            out_dev=self._link(found.get(TRACE_OIF)),
        )
        if int.from_bytes(found.get(TRACE_TYPE, b"")) != TYPE_RULE:
            return event
        handle = int.from_bytes(found.get(TRACE_HANDLE, b""))
        handles = self._handles(family, table, chain)
        number = handles.index(handle) + 1 if handle in handles else 0
        is_netctls = parse_table_name(table)[0] or parse_hook_name(chain)
        text = "" if is_netctls else self._text(family, table, chain, handle)
        return replace(event, number=number, text=text)

    def _link(self, value: bytes | None) -> str:
        return self._names.get(struct.unpack(">I", value)[0], "") if value and len(value) == 4 else ""

    def _handles(self, family: str, table: str, chain: str) -> list[int]:
        """The handles of a chain's rules, in order."""
        key = (family, table, chain)
        if key not in self._chains:
            reader = TableReader()
            try:
                self._chains[key] = list(reader.read_handles(ChainInfo(*key)))
            except HostError:
                self._chains[key] = []
            finally:
                reader.close()
        return self._chains[key]

    def _text(self, family: str, table: str, chain: str, handle: int) -> str:
        key = (family, table, chain)
        if key not in self._texts:
            self._texts[key] = self._session.list_rules(*key)
        return self._texts[key].get(handle, "")


def render_tables(name: str, request: TraceRequest) -> str:
    """The tables that mark the packets, as `nft -f` reads them."""
    rules = [*(_condition(packet) for packet in request.packets)]
    outer = [
        _inner_condition(packet, tunnel.port, tunnel.header_bytes) for packet in request.packets for tunnel in request.tunnels
    ]
    lines = "".join(f"\t\t{rule} meta nftrace set 1\n" for rule in (*rules, *outer))
    text = _table("inet", name, {"before": "prerouting", "own": "output"}, lines) + _table(
        "bridge", name, {"before": "prerouting"}, lines
    )
    if request.links:
        hooks = {f"at-{number}": f'ingress device "{link}"' for number, link in enumerate(request.links)}
        text += _table("netdev", name, hooks, lines)
    return text


def _table(family: str, name: str, hooks: dict[str, str], lines: str) -> str:
    chains = "".join(
        f"\tchain {chain} {{\n\t\ttype filter hook {hook} priority {PRIORITY}; policy accept;\n{lines}\t}}\n"
        for chain, hook in hooks.items()
    )
    return f"table {family} {name} {{\n\tflags owner\n{chains}}}\n"


def _condition(packet: TracedPacket) -> str:
    family = "ip6" if ":" in packet.target else "ip"
    source, target = ip_address(packet.source), ip_address(packet.target)
    if packet.protocol is None:
        what = f"{'icmpv6' if family == 'ip6' else 'icmp'} type echo-request"
    else:
        what = f"meta l4proto {packet.protocol} th dport {packet.port:d}"
    return f"{family} saddr {source} {family} daddr {target} {what}"


def _inner_condition(packet: TracedPacket, port: int, header_bytes: int) -> str:
    """A packet of a tunnel, known by the addresses in the frame inside."""
    source, target = ip_address(packet.source), ip_address(packet.target)
    start, length = BITS[target.version]
    first = header_bytes * 8 + ETHERNET_BITS + start
    where = ((first, source), (first + length, target))
    return f"udp dport {port:d} " + " ".join(f"@th,{offset},{length} {int(address):#x}" for offset, address in where)


def _verdict_of(found: dict[int, bytes]) -> str:
    """The verdict in words: `goto ours`, `accept`; "" to go on."""
    parts = dict(parse_attributes(memoryview(found.get(TRACE_VERDICT, b""))))
    if VERDICT_CODE not in parts:
        return ""
    code = struct.unpack(">i", bytes(parts[VERDICT_CODE]))[0]
    word = VERDICTS.get(code if code < 0 else code & 0xFF, str(code))
    chain = text_of_name(bytes(parts[VERDICT_CHAIN])) if VERDICT_CHAIN in parts else ""
    return f"{word} {chain}".strip() if word != "continue" else ""
