"""What a failed verification names as its likely cause, and how its results fit a terminal."""

from __future__ import annotations

from reconciler.probes.model import IN_SUBNETS, Finding, PacketProbe, Result
from reconciler.render.colour import PLAIN
from reconciler.render.status import Difference, Foreign, HostStatus, Item, StatusDocument, count_items
from reconciler.render.suspicions import Suspicion, find_suspicions, render_suspicions
from reconciler.render.verify import compile_verification, render_verification
from reconciler.state.subject import HOST_SUBJECT, Subject

GONE = "host: nftables table inet netctl-shop is gone"


def test_causes_then_missing_things_then_foreign_firewalls() -> None:
    """Only what no other difference explains is named; a policy whose elements went with a table is not."""
    items = (
        Item(
            HOST_SUBJECT, "drifted", "", (Difference("firewall", "inet", "nftables table inet netctl-shop is gone", effects=2),)
        ),
        Item(Subject.container("web"), "drifted", "", (Difference("element", "a", "element a is gone", GONE),)),
        Item(Subject.container("db"), "missing", "", (Difference("netns", "", "network namespace: missing"),)),
        Item(Subject.policy("web", "db"), "missing", "", (Difference("element", "b", "element b is gone", GONE),)),
        Item(Subject.container("app"), "in step", ""),
    )
    firewall = Foreign("firewall", "nftables chain forward", "drops packets", "nft add rule …")
    status = count_items(StatusDocument(1, "shop", in_step=True, hosts=(HostStatus("alpha", "", items, (firewall,)),)))
    assert find_suspicions(status) == (
        Suspicion("alpha", "host", "nftables table inet netctl-shop is gone (and 2 entries with it)"),
        Suspicion("alpha", "container db", "is missing"),
        Suspicion("alpha", "foreign firewall", "nftables chain forward drops packets", "nft add rule …"),
    )
    assert list(render_suspicions(find_suspicions(status), PLAIN))[:5] == [
        "likely cause:",
        "  host alpha: nftables table inet netctl-shop is gone (and 2 entries with it)",
        "  host alpha, container db is missing",
        "  host alpha, foreign firewall: nftables chain forward drops packets",
        "    help: nft add rule …",
    ]


def test_without_a_cause_nothing_is_said() -> None:
    """Many are counted."""
    assert list(render_suspicions((), PLAIN)) == []
    many = [Suspicion("alpha", f"container c{number}", "is missing") for number in range(20)]
    assert "  and 12 more" in list(render_suspicions(many, PLAIN))


def test_a_matrix_fits_the_terminal() -> None:
    """A matrix that is wider than the terminal is summed up, since its columns cannot be folded; in a pipe it is whole."""
    names = ("web-of-the-shop", "database-of-the-shop", "worker-of-the-shop", "cache-of-the-shop")
    asked = [
        PacketProbe(
            host="alpha", netns=f"container:{one}", source=one, target=two, section=IN_SUBNETS, address="10.44.0.2",
            expected=True, why="both are in front", subnet="front", kind="icmp",
        )
        for one in names for two in names if one != two
    ]  # fmt: skip
    document = compile_verification("shop", [Result(probe, Finding("answered")) for probe in asked], ())
    assert "  ok  4 members, 12 of 12 probes passed" in render_verification(document, width=80)
    assert "members" not in render_verification(document, width=0)
