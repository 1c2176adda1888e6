"""`netctl import` reads Compose files by Compose itself, and writes two files or none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.harness.netctl import Outcome, run_netctl

SERVICES = {
    "web": {"image": "web", "networks": {"default": None}, "ports": [{"target": 80, "published": "8080"}]},
    "db": {"image": "db", "networks": {"default": None}},
}
NORMAL = {"name": "shop", "services": SERVICES, "networks": {"default": {"name": "shop_default"}}}
"""What the docker command of these tests prints as the normal form; its arguments go into a file."""
MERGED = {**NORMAL, "services": {name: {"network_mode": "none"} for name in ("web", "db")}}
SCRIPT = """\
#!/bin/sh
echo "$0 $*" >> {log}
case "$*" in
*version*) echo "{version}"; exit {version_status} ;;
*"--file -"*) cat > {root}/override; cat {root}/merged.json ;;
*) printf '%s' '{stderr}' >&2; cat {root}/normal.json; exit {status} ;;
esac
"""


class FakeDocker:
    """A docker command that knows Compose. The tests of the contract have the real one."""

    def __init__(self, root: Path) -> None:
        """Its files are in `root`."""
        self.root = root
        self.write()

    def write(self, *, version: str = "v2.26.1", version_status: int = 0, status: int = 0, stderr: str = "") -> None:
        values = {"version": version, "version_status": version_status, "status": status, "stderr": stderr}
        (self.root / "bin").mkdir(exist_ok=True)
        for tool in ("sh", "cat"):  # and no other docker-compose of this machine
            (self.root / "bin" / tool).unlink(missing_ok=True)
            (self.root / "bin" / tool).symlink_to(shutil.which(tool) or "")
        (self.root / "bin/docker").write_text(SCRIPT.format(log=self.root / "log", root=self.root, **values))
        (self.root / "bin/docker").chmod(0o755)
        (self.root / "normal.json").write_text(json.dumps(NORMAL))
        (self.root / "merged.json").write_text(json.dumps(MERGED))

    def run(self, *arguments: str | Path, path: str | None = None, **env: str) -> Outcome:
        found = f"{self.root}/bin" if path is None else path
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {"PATH": found, **env}.items():
                patch.setenv(name, value)
            return run_netctl("import", *arguments)

    @property
    def calls(self) -> list[str]:
        return (self.root / "log").read_text().splitlines() if (self.root / "log").exists() else []


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    return FakeDocker(tmp_path)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)


def test_two_files_are_written_and_the_next_commands_printed(docker: FakeDocker, tmp_path: Path) -> None:
    """The first lines name the files, and the commands that follow use them."""
    done = docker.run()
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "topology.yaml is written: the topology shop: 1 subnet, 2 containers"
    assert lines[1].startswith("compose.netctl.yaml is written")
    assert "  export COMPOSE_FILE=compose.yaml:compose.netctl.yaml" in lines
    assert any("netctl agent topology.yaml" in line for line in lines)
    assert "existing: {compose: shop/web}" in (tmp_path / "topology.yaml").read_text()
    assert "COMPOSE_FILE=compose.yaml:compose.netctl.yaml" in (tmp_path / "compose.netctl.yaml").read_text()
    assert (tmp_path / "override").read_text() == (tmp_path / "compose.netctl.yaml").read_text()


@pytest.mark.parametrize("name", ["topology.yaml", "compose.netctl.yaml"])
@pytest.mark.parametrize("kind", ["file", "dangling link", "directory"])
def test_nothing_is_written_over(docker: FakeDocker, tmp_path: Path, name: str, kind: str) -> None:
    """If one of the two is there, nothing is read or written, and the help names the options."""
    path = tmp_path / name
    if kind == "file":
        path.write_text("mine")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.iterdir())
    done = docker.run()
    assert done.status == 2
    assert f"{name} exists already" in done.err
    assert "--output DIR" in done.err
    assert docker.calls == []
    assert sorted(tmp_path.iterdir()) == before
    assert kind != "file" or path.read_text() == "mine"


def test_dry_run_prints_and_writes_nothing(docker: FakeDocker, tmp_path: Path) -> None:
    """Both files are printed, also where they are there already; JSON has them as text."""
    (tmp_path / "topology.yaml").write_text("mine")
    done = docker.run("--dry-run")
    assert done.status == 0
    assert "# --- topology.yaml\n" in done.out
    assert "# --- compose.netctl.yaml\n" in done.out
    answer = json.loads(docker.run("--dry-run", "--json").out)
    assert answer["written"] is False
    assert "name: shop" in answer["texts"]["topology.yaml"]
    assert answer["next"][1] == "export COMPOSE_FILE=compose.yaml:compose.netctl.yaml"
    assert (tmp_path / "topology.yaml").read_text() == "mine"


def test_files_are_passed_in_their_order(docker: FakeDocker, tmp_path: Path) -> None:
    """Files and options go to Compose, and the value of COMPOSE_FILE has all files; another directory has its path there."""
    (tmp_path / "out").mkdir()
    done = docker.run("a.yaml", "-f", "b.yaml", "--output", "out", "-p", "other", "--env-file", "x.env")
    assert done.status == 0, done.err
    words = "--project-name other --env-file x.env --profile * --file a.yaml --file b.yaml config --format json"
    assert docker.calls[1].endswith(f"docker compose {words}")
    assert "export COMPOSE_FILE=a.yaml:b.yaml:out/compose.netctl.yaml" in done.out
    assert "export COMPOSE_ENV_FILES=x.env" in done.out
    assert (tmp_path / "out/topology.yaml").exists()


@pytest.mark.parametrize(
    ("files", "env", "dotenv", "wanted"),
    [
        (["compose.yaml"], {}, "", "compose.yaml"),
        (["docker-compose.yml", "compose.yaml"], {}, "", "compose.yaml"),
        (["docker-compose.yml"], {}, "", "docker-compose.yml"),
        (["compose.yaml", "compose.override.yaml"], {}, "", "compose.yaml:compose.override.yaml"),
        (["compose.yaml", "a.yaml", "b.yaml"], {"COMPOSE_FILE": "a.yaml:b.yaml"}, "", "a.yaml:b.yaml"),
        (["a.yaml"], {"COMPOSE_FILE": "a.yaml;b.yaml", "COMPOSE_PATH_SEPARATOR": ";"}, "", "a.yaml:b.yaml"),
        (["compose.yaml", "a.yaml"], {}, "COMPOSE_FILE=a.yaml\n", "a.yaml"),
    ],
)
def test_default_files_are_those_of_compose(
    docker: FakeDocker, tmp_path: Path, files: list[str], env: dict[str, str], dotenv: str, wanted: str
) -> None:
    """Its names in its order, the file that it merges by itself, COMPOSE_FILE, and the one in `.env`."""
    (tmp_path / "compose.yaml").unlink()
    for file in files:
        (tmp_path / file).write_text("services: {}\n")
    if dotenv:
        (tmp_path / ".env").write_text(dotenv)
    done = docker.run(**env)
    assert f"export COMPOSE_FILE={wanted}:compose.netctl.yaml" in done.out, done.err


def test_a_file_above_is_found(docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Compose, from a directory below; the files are written beside it, and the next commands begin with `cd`."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    done = docker.run()
    assert done.status == 0
    assert (tmp_path / "topology.yaml").exists()
    assert [line.split("   ")[0].strip() for line in done.out.partition("next:\n")[2].splitlines()] == [
        "cd ..",
        "docker compose down",
        "export COMPOSE_FILE=compose.yaml:compose.netctl.yaml",
        "sudo netctl agent topology.yaml",
        "docker compose up --detach",
        "sudo netctl verify topology.yaml",
    ]


def test_the_override_of_an_earlier_import_is_left_out(docker: FakeDocker, tmp_path: Path) -> None:
    """COMPOSE_FILE goes on to name it: a second import reads the Compose file alone, whether the override is there or not."""
    (tmp_path / "out").mkdir()
    done = docker.run("--output", "out", COMPOSE_FILE="compose.yaml:compose.netctl.yaml")
    assert done.status == 0, done.err
    assert docker.calls[1].endswith("--file ./compose.yaml config --format json")
    assert "export COMPOSE_FILE=./compose.yaml:out/compose.netctl.yaml" in done.out
    alone = docker.run("compose.netctl.yaml", "--dry-run")
    assert alone.status == 2
    assert "cannot import compose.netctl.yaml: an import has written it" in alone.err


def test_a_file_without_a_service_to_connect_is_an_error(docker: FakeDocker, tmp_path: Path) -> None:
    """An override without services would be no Compose file: nothing is written, and the reason of each service is printed."""
    services = {"web": {"image": "web", "network_mode": "host"}, "db": {"image": "db", "network_mode": "none"}}
    (tmp_path / "normal.json").write_text(json.dumps({**NORMAL, "services": services}))
    done = docker.run()
    assert done.status == 2
    assert "netctl connects no service of this file: web has the network of its host" in done.err
    assert not (tmp_path / "topology.yaml").exists()


def test_no_file_is_an_error_with_the_names(docker: FakeDocker, tmp_path: Path) -> None:
    """It is the user who decides which file, so the names that were looked for are printed."""
    (tmp_path / "compose.yaml").unlink()
    done = docker.run()
    assert done.status == 2
    assert "there is no Compose file here or above: compose.yaml, compose.yml" in done.err


@pytest.mark.parametrize(
    ("version", "status", "said"),
    [
        ("1.29.2", 0, "docker compose is version 1.29.2"),
        ("v2.20.3", 0, "docker compose is version v2.20.3"),
        ("", 1, "this machine has none"),
        ("garbage", 0, "this machine has none"),
    ],
)
def test_without_compose_2_it_refuses(docker: FakeDocker, tmp_path: Path, version: str, status: int, said: str) -> None:
    """The reason and the package are printed with status 3; no file is parsed in another way."""
    docker.write(version=version, version_status=status)
    done = docker.run()
    assert done.status == 3
    assert said in done.err
    assert "apt-get install docker-compose" in done.err
    assert not (tmp_path / "topology.yaml").exists()


def test_without_docker_it_refuses(docker: FakeDocker, tmp_path: Path) -> None:
    """The same where there is no docker command at all."""
    (tmp_path / "empty").mkdir()
    done = docker.run(path=str(tmp_path / "empty"))
    assert done.status == 3
    assert "this machine has none" in done.err


def test_newer_versions_are_accepted(docker: FakeDocker) -> None:
    """Compose 5 follows 2."""
    for version in ("2.24.4", "2.26.1-4", "v5.0.0"):
        docker.write(version=version)
        assert docker.run("--dry-run").status == 0


def test_compose_s_own_words_are_shown(docker: FakeDocker, tmp_path: Path) -> None:
    """A file that Compose rejects is an error with its words; its warnings are warnings."""
    docker.write(status=15, stderr="validating compose.yaml: services.web Additional property foo is not allowed")
    done = docker.run()
    assert done.status == 2
    assert "Compose rejects compose.yaml: validating compose.yaml: services.web Additional property foo" in done.err
    docker.write(stderr='time="x" level=warning msg="The \\"TAG\\" variable is not set."')
    done = docker.run()
    assert done.err == 'warning: The "TAG" variable is not set.\n'
    assert (tmp_path / "topology.yaml").exists()


def test_a_port_that_compose_keeps_is_an_error(docker: FakeDocker, tmp_path: Path) -> None:
    """The override is tried by Compose before it is written: a version that keeps a port or a network is reported."""
    kept = {"services": {"web": SERVICES["web"], "db": {"network_mode": "none"}}}
    (tmp_path / "merged.json").write_text(json.dumps({**MERGED, **kept}))
    done = docker.run()
    assert done.status == 2
    assert "cannot import web: this version of Compose keeps its networks or ports" in done.err
    assert not (tmp_path / "topology.yaml").exists()


def test_a_project_with_two_names_is_an_error(docker: FakeDocker, tmp_path: Path) -> None:
    """The topology finds containers by the project's name, so Compose must use the same with the override."""
    (tmp_path / "merged.json").write_text(json.dumps({**MERGED, "name": "other"}))
    done = docker.run()
    assert done.status == 2
    assert "calls the project other with the override, and shop without" in done.err


def test_a_topology_that_is_not_valid_is_not_written(docker: FakeDocker, tmp_path: Path) -> None:
    """Two networks of the project that overlap: the faults are those of `validate`, with the line that would be written."""
    ipam = {"config": [{"subnet": "10.9.0.0/16"}]}
    networks = {"a": {"ipam": ipam}, "b": {"ipam": ipam}}
    services = {"web": {"image": "web", "networks": {"a": None, "b": None}}}
    (tmp_path / "normal.json").write_text(json.dumps({"name": "shop", "services": services, "networks": networks}))
    done = docker.run()
    assert done.status == 2
    assert "topology.yaml:" in done.err
    assert "overlap" in done.err
    assert not (tmp_path / "topology.yaml").exists()


def test_a_directory_that_is_not_there_leaves_nothing(docker: FakeDocker, tmp_path: Path) -> None:
    """If the second file cannot be written, the first is removed again."""
    done = docker.run("--output", "nowhere")
    assert done.status == 2
    assert "No such file or directory" in done.err
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "topology.yaml").exists()


@pytest.mark.parametrize("option", ["--wait", "--hook"])
def test_options_of_compose_are_not_for_the_engine(docker: FakeDocker, option: str) -> None:
    """`--wait` and `--hook` are about services, which the topology of an engine does not have."""
    done = docker.run("docker", option)
    assert done.status == 2
    assert "takes neither --wait, --hook nor --env-file" in done.err


def test_the_hook_is_in_the_override(docker: FakeDocker, tmp_path: Path) -> None:
    """With `--hook` each service has netctl's runtime and the topology for which it waits, and no shell that waits."""
    done = docker.run("--hook")
    assert done.status == 0, done.err
    override = (tmp_path / "compose.netctl.yaml").read_text()
    assert override.count("    runtime: netctl\n    labels: {netctl.wait-for: shop}\n") == override.count("network_mode: none")
    assert "/bin/sh" not in override
    assert "netctl hook install" in done.out


def test_one_way_to_wait(docker: FakeDocker) -> None:
    """`--wait` and `--hook` are two ways to the same end."""
    done = docker.run("--hook", "--wait")
    assert done.status == 2
    assert "--wait or --hook" in done.err


def test_an_engine_that_is_not_there_is_an_error(docker: FakeDocker, tmp_path: Path) -> None:
    """Status 3, with the socket that was tried."""
    done = docker.run("docker", DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    assert done.status == 3
    assert f"{tmp_path}/no.sock" in done.err
