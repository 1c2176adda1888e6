"""The nft session, the reader, and the rule in DOCKER-USER, each on the kernel."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from reconciler.errors import HostError
from reconciler.kernel.netfilter import nft
from reconciler.kernel.netfilter.conntrack import flush_flows
from reconciler.kernel.netfilter.iptables import apply_step, parse_rules, read_docker_user
from reconciler.kernel.netfilter.nft import NftSession, join_commands
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.firewall.elements import FirewallTable
from reconciler.kinds.firewall.program import SETS
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.steps.firewall import IptablesAdd, IptablesDelete, NftCommand
from reconciler.state.steps.step import StepError
from tests.harness.worlds.firewall import FirewallWorld

pytestmark = pytest.mark.kernel


def load(world: FirewallWorld, *entries: tuple[str, str, str]) -> None:
    records = [FirewallTable(netns="", family=family, topology=world.topology) for family in ("inet", "bridge")]
    elements = [world.element(entry) for entry in entries]
    world.nft([step for record in (*records, *elements) for step in record.lower_create()])


def test_a_refused_command_is_named_and_nothing_is_done(bare_world: FirewallWorld) -> None:
    """One transaction: the step at fault is reported with nft's words, and the good ones before it are not done either."""
    load(bare_world)
    good = bare_world.element(("bridges", "b-x", "")).lower_create()[0]
    bad = NftCommand("", f"add element inet netctl-{bare_world.topology} bridges {{ 1.2.3.4 . tcp }}\n")
    gone = NftCommand("", "delete table inet netctl-other\n")
    missing = bare_world.element(("bridges", "b-y", "")).lower_delete()[0]
    also_missing = bare_world.element(("bridges", "b-z", "")).lower_delete()[0]
    for steps, fault, words in (
        ([good, bad], bad, "nft refuses `add element"),
        ([good, gone], gone, "No such file"),
        ([good, missing], missing, "No such file"),
        ([good, *bare_world.element(("bridges", "b-x", "")).lower_delete(), also_missing], also_missing, "No such file"),
    ):
        with pytest.raises(StepError, match=words) as raised:
            bare_world.nft(steps)
        assert raised.value.step == fault
    assert bare_world.tables()[0].elements == ()


def test_a_dry_run_asks_the_kernel_and_changes_nothing(bare_world: FirewallWorld) -> None:
    """What would be refused is reported; what would be done is not."""
    load(bare_world)
    good = bare_world.element(("bridges", "b-x", "")).lower_create()[0]
    absent = bare_world.element(("bridges", "b-x", "")).lower_delete()[0]
    assert isinstance(good, NftCommand)
    assert isinstance(absent, NftCommand)

    def check() -> tuple[str, str]:
        session = NftSession()
        return session.check([good]), session.check([absent])

    good_words, absent_words = bare_world.inside("host", check)
    assert good_words == ""
    assert "No such file" in absent_words
    assert bare_world.tables()[0].elements == ()


def test_many_elements_become_one_command() -> None:
    """Adds of one set are joined, but deleting a key and adding it again keeps its order."""
    steps = [
        NftCommand("", "add element inet netctl-a s { 1 }\n"),
        NftCommand("", "add element inet netctl-a t { 1 }\n"),
        NftCommand("", "add element inet netctl-a s { 2 : 3 }\n"),
        NftCommand("", "delete element inet netctl-a s { 1 }\n"),
        NftCommand("", "add element inet netctl-a s { 1 }\n"),
        NftCommand("", "delete table inet netctl-a\n"),
    ]
    assert join_commands(steps).splitlines() == [
        "add element inet netctl-a s { 1, 2 : 3 }",
        "add element inet netctl-a t { 1 }",
        "delete element inet netctl-a s { 1 }",
        "add element inet netctl-a s { 1 }",
        "delete table inet netctl-a",
    ]


ENTRIES = (("published4", "tcp . 80", "10.0.0.1 . 80"),)


@pytest.mark.parametrize(
    "change",
    [
        "add rule inet {table} forward accept",
        "insert rule inet {table} refuse accept",
        "flush chain inet {table} guard",
        "add chain inet {table} more",
        "add set inet {table} more {{ type ipv4_addr; }}",
        "add table inet {table} {{ flags dormant; }}",
        "add chain inet {table} forward {{ policy drop; }}",
        "add element inet {table} published4 {{ icmp . 5 : 10.0.0.1 . 5 }}",
        "add rule bridge {table} arriving counter",
    ],
)
def test_what_an_administrator_changes_is_seen_and_repaired(bare_world: FirewallWorld, change: str) -> None:
    """With a rule, a chain, a set, a flag or a policy more or less, the table is not intact until it is loaded again."""
    load(bare_world, *ENTRIES)
    assert all(table.intact for table in bare_world.tables())
    bare_world.run("host", "nft", change.format(table=f"netctl-{bare_world.topology}"))
    broken = [table for table in bare_world.tables() if not table.intact]
    assert len(broken) == 1
    records = (FirewallTable(netns="", family=broken[0].family, topology=bare_world.topology), *map(bare_world.element, ENTRIES))
    lost = records[: 2 if broken[0].family == "inet" else 1]
    bare_world.nft([step for record in lost for step in record.lower_create()])
    assert all(table.intact for table in bare_world.tables())
    assert bare_world.tables()[0].elements == ENTRIES


def test_what_is_not_there_and_what_is_foreign(bare_world: FirewallWorld) -> None:
    """No table reads as none; other tables are not looked at; after the removal netctl's are gone, the other is left."""
    assert bare_world.tables() == ()
    bare_world.run("host", "nft", "add table inet netctl-other { set s { type ipv4_addr; elements = { 1.2.3.4 }; }; }")
    assert bare_world.tables() == ()
    load(bare_world)
    assert len(bare_world.tables()) == 2
    tables = [FirewallTable(netns="", family=family, topology=bare_world.topology) for family in ("inet", "bridge")]
    bare_world.nft([step for table in tables for step in table.lower_delete()])
    assert bare_world.tables() == ()
    assert bare_world.run("host", "nft", "list tables").split() == ["table", "inet", "netctl-other"]


def test_the_kernel_has_what_the_programs_need() -> None:
    """What is missing would be reported in a sentence."""
    assert nft.missing_features(SETS) == ()


WITHOUT_NAMES = """
for file in /etc/protocols /etc/services /etc/hosts /etc/iproute2/* /usr/share/iproute2/*; do
    [ ! -f $file ] || mount --bind /dev/null $file
done
exec "$0" -c 'from reconciler.kernel.netfilter.nft import missing_features, SETS; print(missing_features(SETS))'
"""


def test_the_programs_need_no_file_of_names() -> None:
    """On a machine without netbase (bare Debian 12) no name of a protocol or a service can be looked up."""
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-euc", WITHOUT_NAMES, sys.executable], check=False, capture_output=True, text=True
    )
    assert done.stdout == "()\n", done.stdout + done.stderr


def test_udp_flows_are_forgotten_by_the_hosts_port(world: FirewallWorld) -> None:
    """A flow to a published port goes, one to another port stays; TCP of the same number too."""
    target = "192.0.2.11"
    assert world.ask("outside", target, 8080, "udp").startswith("n1")
    assert world.ask("outside", target, 22, "udp").startswith("host")
    assert world.ask("outside", target, 8080, "tcp").startswith("n1")
    flush: Callable[[], int] = lambda: flush_flows([("udp", 8080), ("udp", 7)])  # noqa: E731  a name for its type
    assert world.inside("host", flush) >= 1
    assert world.inside("host", flush) == 0
    assert world.inside("host", lambda: flush_flows([("udp", 22)])) >= 1


def test_a_busy_udp_flow_follows_a_moved_port(world: FirewallWorld) -> None:
    """The same socket, sending on, is answered by the new container once its flow is forgotten."""
    before = world.element(("published4", "udp . 5353", "10.91.0.16 . 80"))
    after = world.element(("published4", "udp . 5353", "10.91.0.17 . 80"))
    world.nft(before.lower_create())
    client = world.inside("outside", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    try:
        client.settimeout(2)
        client.connect(("192.0.2.11", 5353))
        client.send(b"who")
        assert client.recv(200).startswith(b"n1")
        world.nft(after.lower_update(before))
        client.send(b"who")
        assert client.recv(200).startswith(b"n1")
        world.inside("host", lambda: flush_flows([("udp", 5353)]))
        client.send(b"who")
        assert client.recv(200).startswith(b"n2")
    finally:
        client.close()
        world.nft(after.lower_delete())


@pytest.mark.parametrize("command", ["iptables", "ip6tables"])
def test_the_rule_in_docker_user(bare_world: FirewallWorld, command: str) -> None:
    """It is made once, read back as the record, shown truly by iptables, and deleted; without the chain there is none."""
    namespaces = bare_world.namespaces()
    assert read_docker_user(namespaces) == ((), ())
    bare_world.run("host", command, "-N", "DOCKER-USER")
    bare_world.run("host", command, "-A", "DOCKER-USER", "-j", "RETURN")
    record = DockerUser("", command, bare_world.topology)
    for step in record.lower_create() * 2:
        assert isinstance(step, IptablesAdd)
        apply_step(namespaces, step)
    commands, rules = read_docker_user(namespaces)
    assert commands == (command,)
    assert len(rules) == 2
    assert list(DockerUser.recognise(Snapshot(bare_world.topology, {"": NamespaceInfo()}, iptables=rules))) == [record]
    assert "--mark 0x1000/0x1000" in bare_world.run("host", command, "-S", "DOCKER-USER")
    for step in record.lower_delete() * 2:
        assert isinstance(step, IptablesDelete)
        apply_step(namespaces, step)
    assert [rule.rule for rule in read_docker_user(namespaces)[1]] == [("-j", "RETURN")]
    missing = IptablesAdd("", command, "filter", "NO-SUCH", ("-j", "ACCEPT"))
    with pytest.raises(StepError, match="No chain"):
        apply_step(namespaces, missing)


def test_rules_are_parsed_with_their_quotes() -> None:
    """A comment with blanks is one word."""
    (rule,) = parse_rules("iptables", '-N DOCKER-USER\n-A DOCKER-USER -m comment --comment "a b" -j ACCEPT\n')
    assert rule.rule == ("-m", "comment", "--comment", "a b", "-j", "ACCEPT")


def test_a_missing_library_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install, and no traceback."""
    monkeypatch.setattr(nft, "LIBRARY", "libno-such.so.1")
    with pytest.raises(HostError, match=r"libno-such\.so\.1 is missing") as raised:
        NftSession()
    assert "libnftables1" in raised.value.help_text
