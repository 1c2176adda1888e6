"""Values that go into another program's language: refused in the file, or escaped, and never a line or a word more."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import HostError, TopologyError
from reconciler.kernel.engines.docker import DockerEngine
from reconciler.kernel.engines.docker_containers import parse_listed
from reconciler.kernel.engines.lxc import LxcEngine
from reconciler.kernel.openvswitch.openflow import render_mod
from reconciler.kernel.openvswitch.ovsdb import understanding
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook
from reconciler.render.commands import Section, render_script
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.lxc_config import (
    MARK_FILE,
    Mark,
    parse_mark,
    render_config,
    render_mark,
    render_mount,
)
from reconciler.state.shell import HostShell, comment, here_document, join, quote
from reconciler.state.spec_label import parse_spec
from reconciler.state.steps.containers import ProcessStart
from reconciler.state.steps.openvswitch import FlowAdd, FlowDelete
from reconciler.state.steps.step import StepError
from reconciler.topology.load import parse_topology
from tests.harness.capabilities import require_capability

FILE = """\
version: 1
name: shop
hosts: {{alpha: {{connect: local}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web:
    networks: {{front: auto}}
    {lines}
"""


def faults_of(*lines: str) -> list[str]:
    """What is said of a container with these lines."""
    try:
        parse_topology(FILE.format(lines="\n    ".join(lines)).encode())
    except TopologyError as error:
        return [f"{fault.position.line}: {fault.message}" for fault in error.faults]
    return []


LXC = ("runtime: lxc", "image: /srv/rootfs")


@pytest.mark.parametrize(
    "lines",
    [
        (*LXC, 'volumes: ["/a\\nlxc.hook.pre-start = /bin/evil:/b"]'),
        (*LXC, 'volumes: ["/a:/b\\rx"]'),
        (*LXC, 'volumes: ["/a\\0:/b"]'),
        (*LXC, 'env: {"A\\nlxc.cap.drop": "x"}'),
        (*LXC, 'env: {A: "x\\nlxc.cap.drop ="}'),
        (*LXC, 'env: {A: "x\\ry"}'),
        (*LXC, 'env: ["A=x\\0y"]'),
        (*LXC, 'command: ["/bin/x", "a\\nlxc.cap.drop ="]'),
        ("image: nginx", 'volumes: ["/a\\n:/b"]'),
        ("image: nginx", 'env: {"A B": "x"}'),
        ("image: nginx", 'env: {"-i": "x"}'),
        ("image: nginx", 'env: {A: "\\0"}'),
        ("image: nginx", 'command: ["\\0"]'),
        ("image: nginx", 'command: "a \\0"'),
        ("command: [a]", 'env: {"A\\n": "x"}'),
    ],
)
def test_what_a_runtime_cannot_say_is_refused_with_its_line(lines: tuple[str, ...]) -> None:
    """A line break or NUL that the runtime has no word for is a fault of the file, at its line, before anything is touched."""
    faults = faults_of(*lines)
    assert faults
    assert all(int(fault.partition(":")[0]) >= 6 for fault in faults)


@pytest.mark.parametrize(
    "lines",
    [
        ("image: nginx", 'env: {A: "two\\nlines"}'),
        ("image: nginx", 'command: [sh, -c, "echo\\necho"]'),
        ("command: [a]", 'env: {A.B: "\\x1b[1m"}'),
        (*LXC, "volumes: ['/a b:/c#d:ro']"),
    ],
)
def test_what_a_runtime_can_say_is_not_refused(lines: tuple[str, ...]) -> None:
    """Docker and a plain process take a line break in a value; nothing more is refused than has to be."""
    assert faults_of(*lines) == []


def spec(**values: object) -> ContainerSpec:
    return ContainerSpec("lxc", "/srv/rootfs", **values)  # type: ignore[arg-type]


def config(of: ContainerSpec) -> str:
    return render_config("web", of, "/var/lib/lxc/shop-web", common=False)


@pytest.mark.parametrize(
    "bad",
    [
        spec(env=(("A", "x\nlxc.cap.drop ="),)),
        spec(env=(("A\nlxc.cap.drop", "x"),)),
        spec(env=(("A", "x\0"),)),
        spec(volumes=("/a:/b\r",)),
        spec(command=("/bin/x", "\0")),
    ],
)
def test_a_config_with_a_line_more_is_not_written(bad: ContainerSpec) -> None:
    """What came past the file's checks is not written: the last line of defence raises."""
    with pytest.raises(ValueError, match="line of LXC's config"):
        config(bad)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=12)


@given(st.lists(st.tuples(st.sampled_from("AB"), TEXTS), max_size=3), TEXTS)
def test_a_config_has_as_many_lines_as_it_should(env: list[tuple[str, str]], path: str) -> None:
    """Whatever the values are, each is one line."""
    text = config(spec(env=tuple(env), volumes=(f"/{path.replace(':', '')}:/b",)))
    assert text.count("\n") == 5 + len(env)
    assert all(line.startswith("lxc.") for line in text.split("\n")[:-1])


@pytest.mark.parametrize(
    "value", ["plain", "  blanks  ", "\ttab\t", "'x'", '"x"', '" "', "#no comment", "a=b", "\\040", "trailing "]
)
def test_lxc_reads_what_was_meant(tmp_path: Path, value: str) -> None:
    """LXC's own parser gives the variable back as it was."""
    require_capability("lxc")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "config").write_text(config(spec(env=(("A", value),))))
    done = subprocess.run(
        ["lxc-info", "-P", tmp_path, "-n", "t", "-c", "lxc.environment"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == f"lxc.environment = A={value}"


def test_a_mount_is_read_as_it_was_meant() -> None:
    """Blanks, line breaks and backslashes of a path are octal numbers in a line of fstab(5)."""
    assert render_mount("/a b\\c\nd\te:/x#y:ro").startswith(r"/a\040b\134c\012d\011e x#y none bind,ro,")


# --- the shell --------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8), min_size=1, max_size=4))
def test_words_of_a_script_are_the_words(words: list[str]) -> None:
    """`sh` gets each word as it was, and the script is ASCII that steers nothing."""
    line = join(["printf", "%s\\0", *words])
    assert line.isascii()
    assert all(char.isprintable() or char in "\n\t" for char in line)
    done = subprocess.run(["/bin/sh"], input=line.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_a_word_with_a_nul_is_none() -> None:
    """The kernel knows no such word."""
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


@pytest.mark.parametrize("text", ["x\nrm -rf /", "x\r\nrm", "x\x85y", "x\u2028y", "\x1b[2J", "x\u202ey"])
def test_a_comment_is_one_line(text: str) -> None:
    """Whatever stands in a comment, it is one line of printable text."""
    assert comment(text).isprintable()
    assert comment(text).startswith("# x") or comment(text).startswith("# \\")


@pytest.mark.parametrize("text", ["EOF", "a\nEOF\nrm", "EOF_\nEOF", "a\rEOF\rb", "\nEOF"])
def test_no_text_ends_its_here_document(tmp_path: Path, text: str) -> None:
    """The word that ends it is on no line of the text: `cat` gets all of it."""
    script = "\n".join(here_document("cat", text, "EOF")) + "\n"
    done = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout == text.encode() + b"\n"


def test_a_command_of_the_file_stays_in_the_script_of_its_host(tmp_path: Path) -> None:
    """A word with the end of the here-document on a line of its own goes to the other machine, and is not run here."""
    marker = tmp_path / "PWNED"
    step = ProcessStart("container:web", "web", ("sh", "-c", f"x\nTHERE\n>{marker}\n"), (("A", f"\nTHERE\n>{marker}\n"),))
    place = HostShell("shop", "local")
    script = render_script(f"what\n>{marker}", [Section("beta: make", place, ((step,),), through="cat >/dev/null; exit 0;:")])
    script = script.replace("cat >/dev/null; exit 0;: <<", "cat >/dev/null <<")
    subprocess.run(["/bin/sh"], input=script, text=True, capture_output=True, check=True)
    assert not marker.exists()


# --- nftables, iptables, Open vSwitch ---------------------------------------------------------------------------------

INJECTIONS = ['a" ; flush ruleset #', "a\nflush ruleset", "a; flush ruleset", "a }", "$x", "@own4", ""]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_becomes_a_word_of_nft(text: str) -> None:
    """What is not in the grammar of names, keys and values makes no command."""
    bad = [
        FirewallElement(netns="", family="inet", topology="shop", set="bridges", key=text),
        FirewallElement(netns="", family="inet", topology=text, set="bridges", key="b"),
        FirewallTable(netns="", family="inet", topology=text),
        FastPathHook(netns="", topology=text, subnet="front", dev="eth0", chain="leaving"),
        FastPathHook(netns="", topology="shop", subnet="front", dev=text, chain="leaving"),
        FastPathHook(netns="", topology="shop", subnet="front", dev="eth0", chain=text),
    ]
    if text:
        bad += [
            FastPathHook(netns="", topology="shop", subnet=text, dev="eth0", chain="leaving"),
            FirewallElement(netns="", family="inet", topology="shop", set=text, key="b"),
        ]
    for record in bad:
        with pytest.raises(ValueError, match=r"not|cannot|no set"):
            record.lower_create()


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_becomes_a_comment_of_iptables(text: str) -> None:
    """The rule's comment is the topology's name, and nothing else."""
    with pytest.raises(ValueError, match="not a name"):
        DockerUser("", "iptables", text).lower_create()


@pytest.mark.parametrize("text", ["a\nadd actions=NORMAL", "a # b", "a\x1b", "a\u2028b"])
def test_a_flow_is_one_line(text: str) -> None:
    """`ovs-ofctl add-flows` reads a rule from each line, and comments."""
    for step in (FlowAdd("", "b", 1, text, "drop"), FlowAdd("", "b", 1, "m", text), FlowDelete("", "b", 1, text)):
        with pytest.raises(StepError):
            render_mod(step)


# --- engines and databases that answer something else -----------------------------------------------------------------


@pytest.mark.parametrize("text", ["[" * 100_000, '{"runtime":' * 10_000, "1", "null", '{"runtime": NaN}', '"\\ud800"', "", "{}"])
def test_a_foreign_label_is_no_spec(text: str) -> None:
    """A user who may start containers can write our labels: a deep JSON in one made every command fail."""
    assert parse_spec(text) is None
    assert parse_mark(text) is None


@pytest.mark.parametrize(
    "item", [None, [], {}, {"Id": 1}, {"Id": "a", "State": "x", "Names": [1]}, {"Id": "a", "State": "x", "Labels": [1]}]
)
def test_an_engine_that_answers_something_else_is_named(item: object) -> None:
    """An answer in another form is an error that says which engine gave it."""
    engine = DockerEngine("docker", "shop", "local", "/nonexistent.sock")
    engine._client = cast("Any", object())
    with pytest.raises(HostError, match=r"the engine at /nonexistent\.sock sent a malformed answer"), engine._asking():
        parse_listed(cast("Any", item))


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b'"x"', b"{}", b'[{"Id": 1}]', b"[[]]", b'{"ApiVersion": []}'])
def test_a_program_that_is_no_engine_is_named(tmp_path: Path, body: bytes) -> None:
    """JSON of any type, from the first question on, is an error that says which engine gave it."""
    path = str(tmp_path / "engine.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):  # the first only tries whether a program listens
                    connection.recv(65536)
                    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                    connection.sendall(head + body)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        engine = DockerEngine("docker", "shop", "local", f"unix://{path}")
        with pytest.raises(HostError, match=r"engine\.sock sent a malformed answer"):
            engine.read_containers({"web": "web"})
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    "labels", [{"netctl.name": "a b"}, {"netctl.name": "../x"}, {"netctl.name": "$(id)"}, {"netctl.name": "x" * 64}]
)
def test_a_container_that_no_file_can_name_is_not_ours(labels: dict[str, str]) -> None:
    """A foreign container with our labels and a name that no file allows would else be a record that no step can make."""
    engine = DockerEngine("docker", "shop", "local", "/nonexistent.sock")
    ours = {"netctl.topology": "shop", "netctl.host": "local"}
    assert engine._is_ours("shop-web", {**ours, "netctl.name": "web"})
    assert not engine._is_ours("theirs", {**ours, "netctl.name": "web"})
    assert not engine._is_ours(f"shop-{labels['netctl.name']}", {**ours, **labels})


def test_a_copied_directory_of_lxc_is_not_ours(tmp_path: Path) -> None:
    """A container's directory that was copied under another name, with its mark, is the user's."""
    mark = render_mark(Mark("shop", "local", "web", ContainerSpec("lxc", "/srv/rootfs")))
    for name in ("shop-web", "copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MARK_FILE).write_text(mark)
    engine = LxcEngine("shop", "local", str(tmp_path), "")
    assert {name: found is not None for name, found in engine._read_marks()} == {"shop-web": True, "copy": False}


def test_a_database_that_answers_something_else_is_named() -> None:
    """Rows without their columns are a sentence, not a traceback."""
    for wrong in (KeyError("name"), TypeError(), IndexError(), RecursionError()):
        with pytest.raises(HostError, match="Open vSwitch sent a malformed answer"), understanding():
            raise wrong
