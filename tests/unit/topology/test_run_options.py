"""The keys that say how an engine runs a container: what their forms mean, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import TopologyError
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.engines.docker import create_body, create_words
from reconciler.state.lxc_config import render_config
from reconciler.topology.load import load_topology, parse_topology
from tests.harness.full_spec import FULL, FULL_TEXT

HEAD = "version: 1\nname: shop\nhosts: {alpha: {connect: local}}\nsubnets: {front: {cidr: 10.44.0.0/24}}\ncontainers:\n  web:\n"


def spec_of(text: str) -> ContainerSpec:
    """The spec of a container with these keys."""
    return parse_topology((HEAD + text).encode()).containers["web"].spec


def fault_of(text: str) -> str:
    """The first fault of such a file: its message and its advice."""
    with pytest.raises(TopologyError) as caught:
        spec_of(text)
    fault = caught.value.faults[0]
    return f"{fault.message}; {fault.help_text}"


def test_every_key() -> None:
    """A file that uses every key gives the spec that it describes."""
    assert spec_of(FULL_TEXT) == FULL


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("user: 1000", "user", "1000"),
        ("entrypoint: /bin/tini --", "entrypoint", ("/bin/tini", "--")),
        ("labels: {a.b: c, d: ''}", "labels", (("a.b", "c"), ("d", ""))),
        ("labels: [a=b=c, d]", "labels", (("a", "b=c"), ("d", ""))),
        ("tmpfs: /run", "tmpfs", ("/run",)),
        ("cap_drop: ALL", "cap_drop", ("ALL",)),
        ("devices: [nvidia.com/gpu=all]", "devices", ("nvidia.com/gpu=all",)),
        ("memory: 1.5g", "memory", 3 << 29),
        ("memory: 1048576", "memory", 1 << 20),
        ("shm_size: 64 MiB", "shm_size", 64 << 20),
        ('cpus: "2"', "cpus", 2 * 10**9),
        ("stop_timeout: 1m30s", "stop_timeout", 90),
        ("stop_timeout: 0", "stop_timeout", 0),
        ("stop_signal: SIGRTMIN+3", "stop_signal", "SIGRTMIN+3"),
    ],
)
def test_forms_of_a_value(text: str, key: str, value: object) -> None:
    """A value means the same in each form that Compose has for it."""
    assert getattr(spec_of(f"    image: a\n    {text}\n"), key) == value


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("{test: curl -f localhost}", ("CMD-SHELL", "curl -f localhost")),
        ("{test: [CMD-SHELL, exit 1]}", ("CMD-SHELL", "exit 1")),
        ("{test: [NONE]}", ("NONE",)),
        ("{disable: true}", ("NONE",)),
        ("{interval: 5s}", ()),
    ],
)
def test_forms_of_a_healthcheck(text: str, test: tuple[str, ...]) -> None:
    """A line is for the shell, and a check can be switched off."""
    check = spec_of(f"    image: a\n    healthcheck: {text}\n").healthcheck
    assert check is not None
    assert check.test == test


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("user: true", "must be a user"),
        ("user: a b", "is not a user"),
        ("working_dir: tmp", "must be an absolute path"),
        ("labels: {netctl.name: x}", "labels that begin with `netctl.` are netctl's own"),
        ("labels: {count: 3}", 'write "3"'),
        ("cap_add: [NET_ADMN]", "did you mean `NET_ADMIN`?"),
        ("tmpfs: [run]", "must be an absolute path"),
        ("devices: [null]", "must be a device"),
        ("security_opt: [seccomp=/etc/profile.json]", "seccomp-profile"),
        ("security_opt: [nothing]", "is not a security option"),
        ("ulimits: {nofiles: 1}", "did you mean `nofile`?"),
        ("ulimits: {nofile: {soft: 2, hard: 1}}", "a soft limit above the hard one"),
        ("ulimits: {nofile: {soft: 2}}", "a soft and a hard limit"),
        ("memory: 64x", "must be a size"),
        ("memory: 0", "at least one byte"),
        ("cpus: many", "must be a number of CPUs"),
        ("stop_timeout: 1500ms", "must be whole seconds"),
        ("healthcheck: {interval: 5}", "write 5s"),
        ("healthcheck: {intervall: 5s}", "did you mean `interval`?"),
        ("healthcheck: {test: [curl, -f]}", "is not a test"),
        ("healthcheck: {retries: 0}", "a number from 1 on"),
        ("logging: {driver: json-file, options: {max-file: 3}}", "write numbers in quotes"),
        ("mem_limit: 64m", "write `memory:` in its place"),
        ("stop_grace_period: 10s", "write `stop_timeout:` in its place"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    """A value of another form is refused with what is wrong, and what to write."""
    assert says in fault_of(f"    image: a\n    {text}\n")


@pytest.mark.parametrize("key", ["healthcheck: {}", "init: true", "labels: {a: b}", "privileged: true", "logging: {}"])
def test_lxc_refuses_what_it_cannot_do(key: str) -> None:
    """A key for which LXC has no setting is a fault at its line."""
    assert "LXC has nothing like it" in fault_of(f"    runtime: lxc\n    image: busybox\n    {key}\n")
    assert "must be a number" in fault_of("    runtime: lxc\n    image: busybox\n    user: www\n")


@pytest.mark.parametrize("key", ["entrypoint: [sh]", "user: 1", "memory: 64m"])
def test_a_bare_namespace_refuses_the_keys_of_an_engine(key: str) -> None:
    """A bare namespace has its command and its variables, and no more."""
    assert "is a bare namespace" in fault_of(f"    command: [sleep, infinity]\n    {key}\n")


def test_the_words_and_the_body_say_the_same() -> None:
    """The command line and the API's body name each key that the spec has; the labels of both owners are there."""
    words = create_words(FULL, (("netctl.name", "web"),))
    assert words[: words.index("--restart")] == [
        *("--label", "netctl.name=web", "--env", "COLOUR=blue", "--label", "role=web", "--volume", "/usr/share:/data:ro"),
        *(
            "--hostname",
            "full.example",
            "--user",
            "1000:1000",
            "--workdir",
            "/tmp",
            "--health-cmd",
            "true",
            "--health-interval",
            "5000000000ns",
        ),
        *("--health-timeout", "1000000000ns", "--health-start-period", "2000000000ns", "--health-retries", "2", "--init"),
        *("--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD", "--read-only", "--tmpfs", "/run:size=1m", "--tmpfs", "/cache"),
        *("--device", "/dev/null:/dev/empty:r", "--security-opt", "no-new-privileges:true", "--ulimit", "nofile=512:1024"),
        *("--shm-size", "8388608", "--memory", "67108864", "--cpus", "0.5", "--pids-limit", "20", "--stop-signal", "SIGTERM"),
        *("--stop-timeout", "3", "--log-driver", "json-file", "--log-opt", "max-size=1m"),
    ]
    assert words[words.index("--restart") :] == [
        *("--restart", "on-failure", "--entrypoint", "sh", "busybox:latest", "-c", *FULL.command),
    ]
    body = create_body(FULL, {"netctl.name": "web"})
    assert body["Labels"] == {"role": "web", "netctl.name": "web"}
    assert (body["Entrypoint"], body["Cmd"], body["StopTimeout"]) == (["sh", "-c"], list(FULL.command), 3)
    assert body["HostConfig"]["Tmpfs"] == {"/run": "size=1m", "/cache": ""}


def test_lxc_lines() -> None:
    """Each key that LXC has becomes a line of its config."""
    keys = "user: 1000:1001\n    working_dir: /srv\n    cap_drop: [MKNOD]\n    tmpfs: [/run:size=1m]\n    ulimits: {nofile: 5}\n"
    more = "    memory: 1k\n    cpus: 0.5\n    pids_limit: 9\n    stop_signal: SIGINT\n    entrypoint: [sh]\n    command: [-e]\n"
    spec = spec_of(f"    runtime: lxc\n    image: busybox\n    {keys}{more}")
    config = render_config("web", spec, "/var/lib/lxc/shop-web", common=False)
    assert config.splitlines()[2:] == [
        "lxc.init.cmd = sh -e",
        "lxc.signal.halt = SIGINT",
        "lxc.init.uid = 1000",
        "lxc.init.gid = 1001",
        "lxc.init.cwd = /srv",
        "lxc.cap.drop = mknod",
        "lxc.prlimit.nofile = 5:5",
        "lxc.mount.entry = tmpfs run tmpfs size=1m,create=dir 0 0",
        "lxc.cgroup2.memory.max = 1024",
        "lxc.cgroup2.cpu.max = 50000 100000",
        "lxc.cgroup2.pids.max = 9",
    ]


# --- env_file ---------------------------------------------------------------------------------------------------------


def test_files_of_variables(tmp_path: Path) -> None:
    """The files beside the topology file give variables, `env` goes first, and a file that is not required may be missing."""
    (tmp_path / "app.env").write_text("# comment\nexport COLOUR=blue\nNAME='two words'\nHOME=$HOME\n\nSIZE=1 # small\n")
    (tmp_path / "more.env").write_text("COLOUR=red\n")
    file = tmp_path / "topology.yaml"
    files = "env_file: [app.env, more.env, {path: none.env, required: false}]"
    file.write_text(f"{HEAD}    image: a\n    {files}\n    env: {{SIZE: '2'}}\n")
    topology = load_topology(str(file))
    assert dict(topology.containers["web"].spec.env) == {"COLOUR": "red", "NAME": "two words", "HOME": "$HOME", "SIZE": "2"}
    assert topology.env_files == ("app.env", "more.env", "none.env")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file"),
        (b"A=1\nB C=2\n", "line 2"),
        (b"A\n", "gives `A` no value"),
        (b"A=\xff\n", "is not text in UTF-8"),
        (b"A=" + b"x" * (1 << 20), "is larger than 1 MiB"),
    ],
)
def test_a_file_of_variables_that_cannot_be_used(tmp_path: Path, content: bytes | None, says: str) -> None:
    """It is a fault at the line that names it; no value is shown."""
    if content is not None:
        (tmp_path / "app.env").write_bytes(content)
    file = tmp_path / "topology.yaml"
    file.write_text(f"{HEAD}    image: a\n    env_file: app.env\n")
    with pytest.raises(TopologyError) as caught:
        load_topology(str(file))
    assert says in caught.value.faults[0].message
    assert caught.value.faults[0].position.line == 8


def test_a_directory_is_no_file_of_variables(tmp_path: Path) -> None:
    """Neither a directory nor a device is read."""
    file = tmp_path / "topology.yaml"
    for path in (".", "/dev/zero"):
        file.write_text(f"{HEAD}    image: a\n    env_file: {path}\n")
        with pytest.raises(TopologyError) as caught:
            load_topology(str(file))
        assert "it is not a file" in caught.value.faults[0].message
