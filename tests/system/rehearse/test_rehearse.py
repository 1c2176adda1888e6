"""`netctl rehearse`: a production file is proved in a lab of its own, as root and as a user, and nothing outside is touched."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.live import differences, read_live, read_pids
from tests.harness.machine import Machine
from tests.harness.topologies.graphs import EXAMPLES

pytestmark = pytest.mark.kernel
PRODUCTION = next(path for path in EXAMPLES if path.stem == "ssh-production")
DEMO = EXAMPLES[0]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NETCTL = (sys.executable, "-m", "reconciler")
TRIED = ("docker-web-db", "lxc-direct", "macvlan", "openvswitch", "openvswitch-direct", "three-hosts-routes", "web-farm")
"""Examples with different things to replace, and ways over hosts."""
DONE = "was rehearsed: applied"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of the test's own, so that a claim about what is left is about all of it."""
    made = Machine.make(tmp_path)
    yield made
    made.end()


def test_a_production_file_is_proved(machine: Machine) -> None:
    """Hosts that ssh would reach, with images, are applied, verified with packets, and destroyed; the machine is as before."""
    before = read_live(machine)
    done = machine.netctl("rehearse", PRODUCTION, "--junit", machine.folder / "report.xml")
    assert done.status == 0, done.err + done.out
    assert "containers of docker are plain namespaces" in done.err
    assert "probes are as the file says" in done.out
    assert f"prod {DONE}" in done.out
    assert differences(before, read_live(machine)) == ""
    root = ET.parse(machine.folder / "report.xml").getroot()
    assert root.get("failures") == "0"
    assert int(root.get("tests", "0")) > 20
    assert "db to outside (203.0.113.10 icmp) does not pass" in {case.get("name") for case in root.iter("testcase")}


def test_json_has_the_results_and_the_notes(machine: Machine) -> None:
    """One document: what was replaced, how many changes the apply had, and each probe."""
    done = machine.netctl("rehearse", PRODUCTION, "--json")
    assert (done.status, done.err) == (0, "")
    answer = json.loads(done.out)
    assert (answer["topology"], answer["passed"], answer["format_version"]) == ("prod", True, 1)
    assert answer["notes"]
    assert answer["changes"] > 50
    assert {"db", "web", "outside"} <= {probe["source"] for probe in answer["verify"]["probes"]}


def test_a_running_topology_of_that_name_is_not_met(machine: Machine) -> None:
    """The same file can be rehearsed while it runs: afterwards there is nothing to do."""
    assert machine.netctl("apply", "-q", DEMO).status == 0
    before = read_live(machine)
    assert machine.netctl("rehearse", DEMO).status == 0
    assert differences(before, read_live(machine)) == ""
    assert machine.netctl("diff", DEMO).status == 0


def test_a_user_without_rights_rehearses(machine: Machine) -> None:
    """One command, no root: a user namespace is enough."""
    require_capability("user namespaces")
    done = machine.start_command(*NOBODY, *NETCTL, "rehearse", str(PRODUCTION)).wait()
    assert done.status == 0, done.err + done.out
    assert f"prod {DONE}" in done.out


def test_a_refusal_says_what_is_needed(machine: Machine) -> None:
    """In a chroot the kernel gives a user no namespace (user_namespaces(7)): status 3, the reason, and what must work."""
    root = machine.folder / "root"
    root.mkdir()
    machine.folder.chmod(0o755)
    words = " ".join((*NOBODY, *NETCTL, "rehearse", str(PRODUCTION)))
    script = f"mount --rbind / {root} && cd / && exec chroot {root} sh -c 'cd {Path.cwd()} && exec {words}'"
    done = machine.start_command("unshare", "-m", "sh", "-c", script).wait()
    assert done.status == 3, done.err + done.out
    assert "error: cannot create namespaces to rehearse in: Operation not permitted (unshare)" in done.err
    assert "help: `unshare -Urnmpf --mount-proc true` must work for this user" in done.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_rehearsal_leaves_nothing(machine: Machine, number: signal.Signals) -> None:
    """Wherever it is ended, the kernel deletes the lab with its first process; another rehearsal then works.

    All processes of the lab are stopped before, so none of them can end the rehearsal by itself.
    """
    before = read_live(machine)
    for delay_s in (0, 0.5, 1.1):
        running = machine.start_netctl("rehearse", str(DEMO))
        deadline = time.monotonic() + 30
        while len(processes(machine)) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay_s)
        for pid in processes(machine)[1:]:
            machine.run("kill", "-STOP", str(pid), check=False)
        running.kill(number)
        assert running.wait().status == 128 + number
        deadline = time.monotonic() + 10
        while processes(machine) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes(machine) == []
        assert differences(before, read_live(machine)) == ""
    assert machine.netctl("rehearse", PRODUCTION).status == 0


def processes(machine: Machine) -> list[int]:
    """Those of a rehearsal, as the machine numbers them, the first one first."""
    return sorted(read_pids(machine, f"{sys.executable} -m reconciler rehearse .*"))


def test_a_faulty_file_is_reported_as_by_validate(machine: Machine) -> None:
    """Faults have their lines and status 2, before any namespace is made."""
    path = machine.folder / "t.yaml"
    path.write_text("version: 1\nname: t\nhost: {}\n")
    done, other = machine.netctl("rehearse", path), machine.netctl("validate", path)
    assert (done.status, done.err) == (2, other.err)
    assert machine.netctl("rehearse", PRODUCTION, "--junit", machine.folder / "none" / "a.xml").status == 2


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem in TRIED], ids=lambda path: path.stem)
def test_examples_are_rehearsed(machine: Machine, path: Path) -> None:
    """Docker, Podman, LXC, Open vSwitch, LANs, ssh: whatever the file has, its network is proved on a bare machine."""
    done = machine.netctl("rehearse", path)
    assert done.status == 0, done.err + done.out
