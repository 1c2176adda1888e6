"""The command line with containers of a real dockerd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.harness.dockerd import running_dockerd
from tests.harness.netctl import run_netctl

SHOP = """\
version: 1
name: {name}
hosts: {{alpha: {{connect: lab, address: 192.0.2.11, docker: "{url}"}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web:
    image: busybox:latest
    command: [sh, -c, "echo 'a b' $GREETING > /tmp/x; exec sleep 1000"]
    env: {{GREETING: "it's $HOME"}}
    networks: {{front: 10.44.0.10}}
    ports: ["8080:80"]
  other: {{existing: somebodys, runtime: docker, networks: {{front: auto}}}}
"""


@pytest.mark.docker
def test_script_verify_and_exec(topology_name: str, tmp_path: Path) -> None:
    """The script makes Docker's containers as apply does; verify needs no tool in them, and exec enters their network."""
    path = tmp_path / "topology.yaml"
    with running_dockerd() as daemon:
        daemon.docker("run", "-d", "--network", "none", "--name", "somebodys", "busybox:latest")
        path.write_text(SHOP.format(name=topology_name, url=daemon.url))
        try:
            script = run_netctl("diff", "--commands", "--show-secrets", path)
            assert script.status == 1, script.err
            done = subprocess.run(["sh"], input=script.out, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            after = run_netctl("diff", path)
            assert (after.status, after.out) == (0, "Nothing to do: the hosts are as the file says.\n"), after.err
            assert daemon.docker("exec", f"{topology_name}-web", "cat", "/tmp/x") == "a b it's $HOME"
            verified = run_netctl("verify", path)
            assert verified.status == 0, verified.out
            assert "10.44.0.10/24" in run_netctl("exec", "-f", path, "web", "--", "ip", "address").out
            assert "10.44.0.2/24" in run_netctl("exec", "-f", path, "other", "--", "ip", "address").out
            daemon.docker("stop", "-t", "0", f"{topology_name}-web")
            assert run_netctl("exec", "-f", path, "web", "--", "true").status == 0, "its network is held"
            daemon.docker("stop", "-t", "0", f"{topology_name}-web.net")
            stopped = run_netctl("exec", "-f", path, "web", "--", "true")
            assert stopped.status == 3
            assert "does not run" in stopped.err
            assert run_netctl("apply", path).status == 0
            assert run_netctl("verify", path).status == 0
        finally:
            gone = run_netctl("destroy", path)
        assert gone.status == 0, gone.err
        assert daemon.docker("ps", "-a", "--format", "{{.Names}}") == "somebodys"
