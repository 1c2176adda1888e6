"""What is installed on a host, and that nothing else of dockerd's configuration changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.kernel.starts.install import Places, add_runtime, find_installed, install, remove, remove_runtime

PATH = "/opt/netctl-runtime"
OTHERS = '{\n  "log-driver": "local",\n  "runtimes": {\n    "kata": {"path": "/opt/kata"}\n  },\n  "hosts": ["ü"]\n}\n'


def places(folder: Path) -> Places:
    (folder / "docker").mkdir()
    return Places(folder / "lib", folder / "docker/daemon.json", folder / "cdi")


def test_other_settings_stay() -> None:
    """The runtime is added beside others, and its removal leads back to them."""
    after = add_runtime(OTHERS, PATH, "f")
    assert json.loads(after) == {**json.loads(OTHERS), "runtimes": {"kata": {"path": "/opt/kata"}, "netctl": {"path": PATH}}}
    assert '\n  "log-driver"' in after
    assert "ü" in after
    assert add_runtime(after, PATH, "f") == after
    assert json.loads(remove_runtime(after, PATH, "f")) == json.loads(OTHERS)
    assert remove_runtime(OTHERS, PATH, "f") == OTHERS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"runtimes": []}', "`runtimes` is no object"),
        ('{"runtimes": {"netctl": {"path": "/other"}}}', "another runtime called netctl"),
        ('{"debug": true, "debug": false}', "a key stands twice"),
    ],
)
def test_what_cannot_be_merged_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Nothing is written then, not even the program."""
    where = places(tmp_path)
    where.config_file.write_text(text)
    with pytest.raises(UsageError, match=words):
        install(where, cdi=False)
    assert where.config_file.read_text() == text
    assert not where.program.exists()


@pytest.mark.parametrize("cdi", [False, True])
def test_it_leaves_nothing(tmp_path: Path, *, cdi: bool) -> None:
    """`remove` takes away what `install` wrote, and says so; both change nothing the second time."""
    where = places(tmp_path)
    said = install(where, cdi=cdi)
    assert len(said) == 2
    assert install(where, cdi=cdi) == []
    assert where.program.stat().st_mode & 0o777 == 0o755
    assert where.program.read_text().startswith("#!/")
    assert len(find_installed(where)) == 2
    assert len(remove(where)) == 2
    assert remove(where) == []
    assert find_installed(where) == ()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_device_has_the_same_hook(tmp_path: Path) -> None:
    """A container with the device gets what the runtime adds."""
    where = places(tmp_path)
    install(where, cdi=True)
    found = json.loads(where.cdi_file.read_text())
    hook = {"hookName": "createRuntime", "path": str(where.program), "args": ["netctl-runtime", "netctl-hook"]}
    assert found["kind"] == "netctl/network"
    assert found["devices"] == [{"name": "agent", "containerEdits": {"hooks": [hook]}}]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """A configuration that is a link to a file elsewhere is changed there, and keeps its mode."""
    where = places(tmp_path)
    real = tmp_path / "real.json"
    real.write_text("{}")
    real.chmod(0o640)
    where.config_file.symlink_to(real)
    install(where, cdi=False)
    assert where.config_file.is_symlink()
    assert "netctl" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
