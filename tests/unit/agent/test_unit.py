"""The unit of systemd: a path is one word in it, whatever characters it has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.agent.unit import quote_word, render_unit
from reconciler.errors import UsageError


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/etc/netctl/shop.yaml", "/etc/netctl/shop.yaml"),
        ("/srv/my shop.yaml", '"/srv/my shop.yaml"'),
        ("/srv/100%i.yaml", '"/srv/100%%i.yaml"'),
        ("/srv/$HOME.yaml", '"/srv/$$HOME.yaml"'),
        ('/srv/a"; b\\c', '"/srv/a\\"; b\\\\c"'),
    ],
)
def test_a_path_is_one_word(word: str, written: str) -> None:
    """Spaces, quotes, backslashes, variables and specifiers mean nothing in it."""
    assert quote_word(word) == written
    assert f" agent {written}\n" in render_unit(word)


def test_a_line_break_is_rejected() -> None:
    """A path with one would add a line of its own to the unit, which root runs."""
    with pytest.raises(UsageError, match="control character"):
        render_unit("/srv/a\nExecStartPre=/bin/sh")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_each_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`systemd-analyze verify` has no complaint, and its order beside the engines' units has no circle."""
    monkeypatch.setattr(sys, "argv", [sys.executable])
    path = tmp_path / "netctl-agent.service"
    path.write_text(render_unit("/srv/my shop.yaml"))
    units = ("docker.service", "podman.socket", "podman-restart.service", "lxc.service")
    others = [str(found) for name in units if (found := Path("/lib/systemd/system") / name).exists()]
    words = ["systemd-analyze", "verify", "--man=no", str(path), *others]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if "netctl-agent" in line or "cycle" in line]
    assert complaints == []
    assert len(others) == len(units) or done.returncode == 0


def test_dockerd_that_waits_for_it_is_not_waited_for() -> None:
    """With the hook, dockerd is up only when the agent has connected its containers: `After=docker.service` would be a circle."""
    text = render_unit(has_hook=True)
    assert "docker.service" not in text
    assert "After=podman.socket" in text.splitlines()


def test_it_stands_between_the_engines() -> None:
    """Docker restarts its containers by itself, before it answers; those of Podman and LXC have units that can wait."""
    lines = render_unit().splitlines()
    assert "After=docker.service podman.socket" in lines
    assert "Before=podman-restart.service lxc.service" in lines
    (limit,) = (line for line in lines if line.startswith("TimeoutStartSec="))
    assert limit != "TimeoutStartSec=infinity"
