"""Names on real hosts of the lab: real queries, from inside of containers, to real name servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.netctl import run_netctl
from tests.harness.queries import Answer, ask, ask_both, count_lost

pytestmark = pytest.mark.kernel

TEXT = """\
version: 1
name: {name}
dns: true
hosts: {{alpha: {{connect: lab, address: 192.0.2.11}}, beta: {{connect: lab, address: 192.0.2.12}}}}
subnets:
  front: {{cidr: [10.44.0.0/24, "fd00:44::/64"]{front}}}
  back: {{cidr: 10.45.0.0/24, mode: isolated}}
containers:
  web:
    host: alpha
    networks: {{front: [10.44.0.10, "fd00:44::10"]}}
    dns: {{aliases: [www]}}
    command: [sh, -c, "cat /etc/resolv.conf; getent hosts db; exec sleep 1000"]
    ports: ["53:53/udp"]
  cache: {{host: alpha, networks: {{front: {{address: 10.44.0.11, ipv6: false}}, back: 10.45.0.11}}}}
  db: {{host: alpha, networks: {{back: 10.45.0.20}}}}
  quiet: {{host: alpha, networks: {{front: 10.44.0.12}}, dns: false}}
  worker: {{host: beta, replicas: {replicas}, networks: {{front: auto}}}}
policies:
  - {{allow: web, to: db, ports: [5432/tcp]}}
"""
FRONT, FRONT6, BACK, BETA = "10.44.0.1", "fd00:44::1", "10.45.0.1", "10.44.0.2"
NOTHING, REFUSED, UNKNOWN = Answer("NOERROR"), Answer("REFUSED"), Answer("NXDOMAIN")


@pytest.fixture
def topology(topology_name: str, tmp_path: Path) -> Iterator[Path]:
    """Two hosts with names, applied."""
    require_capability("root")
    require_capability("dnsmasq")
    path = tmp_path / "topology.yaml"
    write(path, topology_name)
    try:
        done = run_netctl("apply", path)
        assert done.status == 0, done.err
        yield path
    finally:
        run_netctl("destroy", "--name", topology_name)


def write(path: Path, name: str, *, replicas: int = 3, front: str = "") -> None:
    path.write_text(TEXT.format(name=name, replicas=replicas, front=front))


def found(*values: str) -> Answer:
    return Answer("NOERROR", tuple(sorted(values)))


def processes(name: str, program: str) -> list[int]:
    """The processes of the topology's name servers: `dnsmasq`, or the shells (`sh`)."""
    numbers = subprocess.run(["pgrep", "-x", program], capture_output=True, text=True, check=False).stdout.split()
    mark = f"NETCTL_DNS={name}/".encode()
    found = []
    for number in numbers:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has ended
            if mark in Path(f"/proc/{number}/environ").read_bytes():
                found.append(int(number))
    return found


def test_answers(topology: Path, topology_name: str) -> None:
    """Every form of a name is answered by UDP and TCP, in both families, over hosts, and NODATA is no NXDOMAIN."""
    web, worker = f"{topology_name}.web", f"{topology_name}.worker-1"
    zone = f"{topology_name}.internal"
    for name in ("web", "www", "web.front", "www.front"):
        assert ask_both(web, FRONT, f"{name}.{zone}") == found("10.44.0.10"), name
        assert ask_both(worker, BETA, f"{name}.{zone}") == found("10.44.0.10"), name
        assert ask_both(web, FRONT6, f"{name}.{zone}", "AAAA") == found("fd00:44::10"), name
    assert len(ask_both(web, FRONT, f"worker.{zone}").values) == 3
    assert len(ask_both(web, FRONT, f"worker-2.{zone}").values) == 1
    assert ask_both(web, FRONT, f"host.{zone}") == found(FRONT)
    assert ask_both(worker, BETA, f"host.{zone}") == found(BETA)
    assert ask_both(web, FRONT, "10.0.44.10.in-addr.arpa", "PTR") == found(f"web.front.{zone}.")
    assert ask_both(web, FRONT, f"cache.{zone}", "AAAA") == NOTHING
    assert ask_both(web, FRONT, f"nobody.{zone}") == UNKNOWN
    assert ask_both(web, FRONT, f"quiet.{zone}") == UNKNOWN
    assert run_netctl("diff", topology).status == 0


def test_reachable_and_resolvable_are_the_same(topology_name: str, topology: Path) -> None:
    """A policy opens a name to its source alone, an isolated subnet knows its own, and no other port or address shows more."""
    assert topology.exists()
    web, worker, db, cache = (f"{topology_name}.{name}" for name in ("web", "worker-1", "db", "cache"))
    zone = f"{topology_name}.internal"
    assert ask_both(web, FRONT, f"db.{zone}") == found("10.45.0.20")
    assert ask_both(worker, BETA, f"db.{zone}") == UNKNOWN
    assert ask_both(db, BACK, f"web.{zone}") == UNKNOWN
    assert ask_both(web, FRONT, f"cache.{zone}") == found("10.44.0.11")
    assert ask_both(web, FRONT, f"cache.back.{zone}") == UNKNOWN
    assert ask_both(cache, FRONT, f"cache.{zone}") == found("10.44.0.11", "10.45.0.11")
    assert ask_both(cache, BACK, f"web.{zone}") == found("10.44.0.10")
    assert ask_both(db, BACK, "example.com") == REFUSED
    assert ask(db, FRONT, f"web.{zone}").values == ()
    assert ask(db, FRONT, f"web.{zone}", tcp=True).values == ()
    listening = subprocess.run(
        ["ip", "netns", "exec", f"{topology_name}.lab.alpha", "ss", "-Hltn"], capture_output=True, text=True, check=True
    ).stdout.split()
    others = {int(word.rpartition(":")[2]) for word in listening if word.startswith(BACK) and not word.endswith(":53")}
    assert others, "there is a view of its own"
    for port in others:
        assert ask(db, BACK, f"web.{zone}", port=port).values == ()
        assert ask(db, BACK, f"web.{zone}", port=port, tcp=True).values == ()


def test_commands_see_their_resolv_conf(topology_name: str, topology: Path) -> None:
    """A command and `netctl exec` resolve short names; the machine's own file stays, and so does an unnamed container's."""
    before = Path("/etc/resolv.conf").read_text()
    log = Path(f"/run/netctl/{topology_name}/web.log")
    deadline = time.monotonic() + 10
    while "db." not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert f"nameserver {FRONT}\n" in log.read_text()
    assert "10.45.0.20" in log.read_text()
    assert "10.44.0.10" in run_netctl("exec", "-f", topology, "worker-1", "--", "getent", "ahostsv4", "www").out
    shown = run_netctl("exec", "-f", topology, "cache", "--", "cat", "/etc/resolv.conf").out
    assert shown.splitlines()[1:] == [
        f"nameserver {FRONT}",
        f"search front.{topology_name}.internal {topology_name}.internal",
        "options ndots:1",
    ]
    assert run_netctl("exec", "-f", topology, "quiet", "--", "cat", "/etc/resolv.conf").out == before
    assert Path("/etc/resolv.conf").read_text() == before


def test_a_killed_server_comes_back(topology_name: str, topology: Path) -> None:
    """Killed, a server is back by itself; without its shell it is drift, which `apply` repairs; and so is a changed file."""
    web, zone = f"{topology_name}.web", f"{topology_name}.internal"
    for pid in processes(topology_name, "dnsmasq"):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while ask(web, FRONT, f"web.{zone}") != found("10.44.0.10") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ask_both(web, FRONT, f"web.{zone}") == found("10.44.0.10")
    assert run_netctl("diff", topology).status == 0
    for programs in (("sh",), ("sh", "dnsmasq")):
        for pid in [pid for program in programs for pid in processes(topology_name, program)]:
            os.kill(pid, signal.SIGKILL)
        assert run_netctl("diff", topology).status == 1
        assert run_netctl("apply", topology).status == 0
        assert run_netctl("diff", topology).status == 0
        assert ask_both(web, FRONT, f"web.{zone}") == found("10.44.0.10")
    file = Path(f"/run/netctl-dns/{topology_name}.lab.alpha/{topology_name}.front")
    file.write_text(file.read_text() + f"192.0.2.99 other.{zone}\n")
    assert f"remove name other.{zone} 192.0.2.99" in run_netctl("diff", topology).out
    assert run_netctl("apply", topology).status == 0
    assert ask_both(f"{topology_name}.quiet", FRONT, f"other.{zone}") == UNKNOWN


def test_a_change_loses_no_query(topology_name: str, topology: Path) -> None:
    """While replicas come and go, 300 queries a second are all answered, and no server is restarted."""
    before = sorted(processes(topology_name, "dnsmasq"))
    lost = count_lost(f"{topology_name}.web", FRONT, f"web.{topology_name}.internal", 900, 1 / 300)
    for replicas in (5, 4):
        write(topology, topology_name, replicas=replicas)
        assert run_netctl("apply", topology).status == 0
    assert lost() == 0
    assert sorted(processes(topology_name, "dnsmasq")) == before
    assert len(ask_both(f"{topology_name}.web", FRONT, f"worker.{topology_name}.internal").values) == 4


def test_300_replicas_come_whole_over_tcp(topology_name: str, tmp_path: Path) -> None:
    """The addresses of many replicas are cut off by UDP, and complete by TCP."""
    require_capability("dnsmasq")
    path = tmp_path / "topology.yaml"
    path.write_text(
        f"version: 1\nname: {topology_name}\ndns: true\nhosts: {{alpha: {{connect: lab, address: 192.0.2.11}}}}\n"
        "subnets: {front: {cidr: 10.44.0.0/22}}\ncontainers:\n  web: {networks: {front: auto}}\n"
        "  worker: {replicas: 300, networks: {front: auto}}\n"
    )
    try:
        assert run_netctl("apply", path).status == 0
        web, name = f"{topology_name}.web", f"worker.{topology_name}.internal"
        assert ask(web, FRONT, name).is_cut
        answer = ask(web, FRONT, name, tcp=True)
        assert (len(answer.values), answer.is_cut) == (300, False)
    finally:
        run_netctl("destroy", "--name", topology_name)


HOLDER = """\
import socket, time
own = socket.socket(type=socket.SOCK_DGRAM)
own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
own.bind(("", 53))
time.sleep(99)
"""


def test_a_foreign_server_is_an_obstacle(topology_name: str, topology: Path) -> None:
    """A program that holds port 53 of all addresses is named by `diff` and `apply`: status 3, and nothing is changed."""
    words = ["ip", "netns", "exec", f"{topology_name}.lab.alpha", "python3", "-c", HOLDER]
    with subprocess.Popen(words) as program:
        try:
            deadline = time.monotonic() + 10
            while (refused := run_netctl("diff", topology)).status != 3 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert "of the name server of subnet" in refused.err
            assert "held by python3" in refused.err
            assert run_netctl("apply", topology).status == 3
        finally:
            program.kill()
    assert run_netctl("diff", topology).status == 0


def test_nothing_is_left(topology_name: str, topology: Path) -> None:
    """`destroy` leaves no process, no file and no directory of names; without the key, `apply` removes them."""
    text = topology.read_text()
    topology.write_text(text.replace("dns: true\n", "").replace("    dns: {aliases: [www]}\n", ""))
    assert run_netctl("apply", topology).status == 0
    assert run_netctl("diff", topology).status == 0
    assert processes(topology_name, "dnsmasq") == processes(topology_name, "sh") == []
    assert not list(Path("/run").glob(f"netctl-dns/{topology_name}*"))
    assert not list(Path("/run/netctl").glob(f"*/{topology_name}.resolv"))
    topology.write_text(text)
    assert run_netctl("apply", topology).status == 0
    assert processes(topology_name, "dnsmasq") != []
    for pid in [*processes(topology_name, "sh"), *processes(topology_name, "dnsmasq")]:
        os.kill(pid, signal.SIGKILL)  # their logs are left, too
    assert run_netctl("destroy", topology).status == 0
    assert processes(topology_name, "dnsmasq") == processes(topology_name, "sh") == []
    assert not list(Path("/run").glob(f"netctl-dns/{topology_name}*"))


def test_verify_asks(topology_name: str, topology: Path) -> None:
    """`verify` asks for the names that a container may know and may not, and names a server whose file was damaged."""
    shown = run_netctl("verify", topology)
    assert shown.status == 0, shown.out
    assert "db (name)" in shown.out
    assert "outside (name)" in shown.out
    zone, directory = f"{topology_name}.internal", Path("/run/netctl-dns")
    front = directory / f"{topology_name}.lab.beta" / f"{topology_name}.front"
    back = directory / f"{topology_name}.lab.alpha" / f"{topology_name}.back"
    front.write_text(front.read_text() + f"10.45.0.20 db.back.{zone}\n")
    back.write_text(back.read_text().replace("10.45.0.11 cache", "10.45.0.12 cache"))
    for pid in processes(topology_name, "dnsmasq"):
        os.kill(pid, signal.SIGHUP)
    time.sleep(0.3)
    shown = run_netctl("verify", topology)
    assert shown.status == 6, shown.out
    assert "-> db (10.44.0.2), name: was answered, though it may not connect to that container" in shown.out
    assert "db -> cache (10.45.0.1), name: wrong (the answer is 10.45.0.12)" in shown.out


def test_the_agent_repairs_names(topology_name: str, topology: Path) -> None:
    """Under an agent, a server whose shell was killed, a changed file and a changed resolv.conf are as before in seconds."""
    file = Path(f"/run/netctl-dns/{topology_name}.lab.alpha/{topology_name}.front")
    own = Path(f"/run/netctl/{topology_name}.lab.alpha/{topology_name}.resolv/cache")
    names, lines = file.read_text(), own.read_text()
    words = [sys.executable, "-m", "reconciler", "agent", str(topology)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as agent:
        assert agent.stdout
        assert any("ready" in line for line in agent.stdout)
        for pid in [*processes(topology_name, "sh"), *processes(topology_name, "dnsmasq")]:
            os.kill(pid, signal.SIGKILL)
        file.write_text("192.0.2.99 other\n")
        own.write_text("nameserver 192.0.2.99\n")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (
            (file.read_text(), own.read_text()) == (names, lines)
            and ask(f"{topology_name}.web", FRONT, f"web.{topology_name}.internal") == found("10.44.0.10")
        ):
            time.sleep(0.1)
        agent.terminate()
    assert (file.read_text(), own.read_text()) == (names, lines)
    assert ask_both(f"{topology_name}.web", FRONT, f"web.{topology_name}.internal") == found("10.44.0.10")


def test_two_topologies_beside_each_other(topology_name: str, topology: Path, tmp_path: Path) -> None:
    """Another topology has names of its own, and its end leaves the first one's servers alone."""
    other, second = tmp_path / "other.yaml", f"{topology_name}b"
    other.write_text(
        f"version: 1\nname: {second}\ndns: true\nhosts: {{alpha: {{connect: lab, address: 192.0.2.11}}}}\n"
        "subnets: {front: {cidr: 10.46.0.0/24}}\ncontainers: {web: {networks: {front: 10.46.0.10}}}\n"
    )
    before = sorted(processes(topology_name, "dnsmasq"))
    try:
        assert run_netctl("apply", other).status == 0
        assert ask_both(f"{second}.web", "10.46.0.1", f"web.{second}.internal") == found("10.46.0.10")
        assert ask_both(f"{topology_name}.web", FRONT, f"web.{topology_name}.internal") == found("10.44.0.10")
    finally:
        assert run_netctl("destroy", "--name", second).status == 0
    assert sorted(processes(topology_name, "dnsmasq")) == before
    assert run_netctl("diff", topology).status == 0


def test_a_printed_script_makes_names(topology_name: str, topology: Path) -> None:
    """The commands of `diff --commands` make what `apply` makes, name servers and files included."""
    assert run_netctl("destroy", topology).status == 0
    script = run_netctl("diff", "--commands", topology).out
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 10
    while run_netctl("diff", topology).status != 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    shown = run_netctl("diff", topology)
    assert shown.status == 0, shown.out
    assert ask_both(f"{topology_name}.web", FRONT, f"db.{topology_name}.internal") == found("10.45.0.20")


SERVER = """\
import socket
own = socket.socket(type=socket.SOCK_DGRAM)
own.bind(("203.0.113.10", 53))
while True:
    data, asker = own.recvfrom(4096)
    print(data[12:].split(b"\\0")[0], flush=True)
    own.sendto(data[:2] + b"\\x81\\x83" + data[4:], asker)
"""
"""A server of the world outside: it prints each name that it is asked for, and knows none."""
CAPTURE = """\
import socket, sys
every = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL: those that leave, too
every.bind((sys.argv[1], 0))
while True:
    print(every.recv(65536), flush=True)
"""
"""Prints each frame of an interface."""


def test_no_query_for_the_zone_leaves_the_host(topology_name: str, topology: Path) -> None:
    """Queries for other names go to the server that the file names; none for the zone or its addresses leaves by the uplink."""
    write(topology, topology_name, front=", dns: {upstream: 203.0.113.10}")
    assert run_netctl("apply", topology).status == 0
    web, zone, outside = f"{topology_name}.web", f"{topology_name}.internal", f"{topology_name}.lab.outside"
    alpha = ["ip", "netns", "exec", f"{topology_name}.lab.alpha"]
    route = subprocess.run([*alpha, "ip", "route", "get", "203.0.113.10"], capture_output=True, text=True, check=True).stdout
    uplink = route.split(" dev ")[1].split()[0]
    with (
        subprocess.Popen(["ip", "netns", "exec", outside, "python3", "-c", SERVER], stdout=subprocess.PIPE) as server,
        subprocess.Popen([*alpha, "python3", "-c", CAPTURE, uplink], stdout=subprocess.PIPE) as capture,
    ):
        try:
            deadline = time.monotonic() + 10
            while ask(web, FRONT, "first.example.com").status != "NXDOMAIN" and time.monotonic() < deadline:
                time.sleep(0.1)
            for name in (f"nobody.{zone}", zone, f"a.b.{zone}", f"web.{zone}"):
                for kind in ("A", "AAAA", "MX", "SRV", "TXT", "SOA"):
                    ask_both(web, FRONT, name, kind)
            ask_both(web, FRONT, "plain")
            for name in ("77.0.44.10.in-addr.arpa", "77.0.45.10.in-addr.arpa"):
                assert ask_both(web, FRONT, name, "PTR") == UNKNOWN
            ask(web, FRONT, "last.example.com")
        finally:
            time.sleep(0.2)
            server.kill()
            capture.kill()
        assert server.stdout
        assert capture.stdout
        asked, captured = server.stdout.read(), capture.stdout.read()
    for seen in (asked, captured):
        assert b"last" in seen
        assert b"internal" not in seen
        assert b"in-addr" not in seen
        assert b"plain" not in seen
    assert b"first" in asked
