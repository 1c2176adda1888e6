"""The trace of a packet on the real kernel: which rules it reports, by number and text, and that nothing stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.errors import HostError
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.kernel.netfilter.trace import Tracer
from reconciler.state.trace import TracedPacket, TraceEvent, TraceRequest
from tests.harness.netns import Namespace

pytestmark = pytest.mark.kernel

RULES = """\
table inet netctl-shop {
    chain input {
        type filter hook input priority 0; policy accept;
        ip saddr 192.0.2.9 drop
        ip daddr 127.0.0.0/8 counter
        jump more
    }
    chain more {
        udp dport 53 drop
        meta l4proto udp accept
    }
}
table ip foreign {
    chain input {
        type filter hook input priority 10; policy accept;
        udp dport 99 counter packets 0 bytes 0 drop
    }
}
"""
PACKET = TracedPacket(source="127.0.0.1", target="127.0.0.1", protocol="udp", port=99)
SEND = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"


def trace(namespace: Namespace, *ports: int, request: TraceRequest | None = None) -> tuple[TraceEvent, ...]:
    """The events of datagrams to these ports."""

    def work() -> tuple[TraceEvent, ...]:
        enter(str(namespace.path))
        tracer = Tracer("shop", request or TraceRequest(packets=(PACKET,)))
        for port in ports:
            namespace.run("python3", "-c", SEND.format(port=port))
        return tracer.finish()

    return run_in_thread(work)


def test_each_rule_is_reported_by_its_number(namespace: Namespace) -> None:
    """Rules that match, in any chain; a foreign one with its text; and the links of base chains."""
    namespace.run("nft", "-f", "-", text=RULES)
    events = trace(namespace, 99)
    rules = [(one.table, one.chain, one.number, one.verdict) for one in events if one.number]
    assert rules == [
        ("netctl-shop", "input", 2, ""),
        ("netctl-shop", "input", 3, "jump more"),
        ("netctl-shop", "more", 2, "accept"),
        ("foreign", "input", 1, "drop"),
    ]
    assert [one.text for one in events if one.table == "foreign" and one.number] == [
        "udp dport 99 counter packets 1 bytes 29 drop"
    ]
    assert {one.in_dev for one in events if one.chain == "input" and one.in_dev} == {"lo"}


def test_other_packets_are_not_followed(namespace: Namespace) -> None:
    """A datagram to another port leaves no event."""
    namespace.run("nft", "-f", "-", text=RULES)
    assert trace(namespace, 98) == ()


def test_the_tables_of_a_trace_go_with_it(namespace: Namespace) -> None:
    """Whether it is finished, or only its sockets are closed."""
    namespace.run("nft", "-f", "-", text=RULES)
    before = namespace.run("nft", "list", "tables").stdout
    trace(namespace, 99)
    assert namespace.run("nft", "list", "tables").stdout == before

    def abandon() -> str:
        enter(str(namespace.path))
        tracer = Tracer("shop", TraceRequest(packets=(PACKET,), links=("lo",)))
        shown = namespace.run("nft", "list", "tables").stdout
        tracer._socket.close()
        del tracer
        return shown

    assert run_in_thread(abandon).count("netctl_trace_shop") == 3
    assert namespace.run("nft", "list", "tables").stdout == before


def test_a_request_that_the_kernel_rejects_leaves_nothing(namespace: Namespace) -> None:
    """One transaction: all tables, or none."""
    with pytest.raises(HostError, match="cannot trace packets here"):
        trace(namespace, request=TraceRequest(packets=(PACKET, replace(PACKET, port=70_000))))
    assert "netctl_trace" not in namespace.run("nft", "list", "tables").stdout
