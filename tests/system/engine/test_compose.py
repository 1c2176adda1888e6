"""Applications under Compose and netctl, from the import to the end: started, verified, scaled, changed, restarted, rebooted."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.running_agent import RunningAgent
from tests.harness.worlds.compose import LIMIT_S, ComposeWorld, read_name, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(300)]

SERVE = '["sh", "-c", "mkdir -p /www; echo $$NAME >/www/name; httpd -f -h /www -p 80"]'
HEAD = """\
x-app: &app
  image: busybox:latest
  command: COMMAND
  restart: always
  stop_grace_period: 0s
""".replace("COMMAND", SERVE)


@dataclass(frozen=True)
class Application:
    """A project, and what its containers reach."""

    name: str
    services: str
    containers: tuple[str, ...]
    reached: tuple[tuple[str, str, str], ...]
    """A container, the name of a neighbor, and what its web server answers."""
    apart: tuple[tuple[str, str], ...]
    """Two containers that must not reach each other: one that asks, and one whose address it asks."""
    changed: str
    """The service whose image changes."""
    scaled: str = ""
    """A service that is scaled to four containers."""

    def text(self, image: str) -> str:
        """The Compose file, with the image of the service that changes."""
        return f"name: {self.name}\n{HEAD}{self.services.replace('IMAGE', image)}"


SHOP = Application(
    "shop",
    """
services:
  web: {<<: *app, environment: {NAME: web}, ports: ["8080:80"], networks: [front, back], depends_on: [db, cache]}
  db:
    <<: *app
    image: IMAGE
    environment: {NAME: db}
    networks: {back: {aliases: [postgres]}}
    healthcheck: {test: [CMD, test, -f, /www/name], interval: 1s}
  cache: {<<: *app, environment: {NAME: cache}, networks: [back], depends_on: {db: {condition: service_healthy}}}
  guest: {<<: *app, environment: {NAME: guest}, networks: [front]}
networks: {front: {}, back: {internal: true}}
""",
    ("web-1", "db-1", "cache-1", "guest-1"),
    (
        ("web-1", "db", "db"),
        ("web-1", "postgres", "db"),
        ("cache-1", "db", "db"),
        ("db-1", "web", "web"),
        ("guest-1", "web", "web"),
    ),
    (("guest-1", "db-1"), ("db-1", "guest-1")),
    "db",
)
VPN = Application(
    "media",
    """
services:
  vpn: {<<: *app, environment: {NAME: vpn}, cap_add: [NET_ADMIN], ports: ["8081:80"], networks: [out]}
  fetch: {image: busybox:latest, restart: always, network_mode: service:vpn, stop_grace_period: 0s}
  index: {image: busybox:latest, restart: always, network_mode: service:vpn, stop_grace_period: 0s}
  shows: {<<: *app, image: IMAGE, environment: {NAME: shows}, networks: [out]}
  other: {<<: *app, environment: {NAME: other}, networks: [apart]}
networks: {out: {}, apart: {}}
""",
    ("vpn-1", "shows-1", "other-1"),
    (("fetch-1", "shows", "shows"), ("index-1", "127.0.0.1", "vpn"), ("shows-1", "vpn", "vpn")),
    (("fetch-1", "other-1"), ("other-1", "vpn-1")),
    "shows",
)
FARM = Application(
    "farm",
    """
services:
  proxy: {<<: *app, environment: {NAME: proxy}, ports: ["8082:80"], networks: [front, work]}
  queue: {<<: *app, image: IMAGE, environment: {NAME: queue}, networks: [work]}
  worker: {<<: *app, environment: {NAME: worker}, networks: [work], scale: 2}
networks: {front: {}, work: {}}
""",
    ("proxy-1", "queue-1", "worker-1", "worker-2"),
    (("worker-1", "queue", "queue"), ("worker-2", "proxy", "proxy"), ("proxy-1", "queue", "queue")),
    (),
    "queue",
    "worker",
)


def start_agent(world: ComposeWorld, application: Application) -> RunningAgent:
    return RunningAgent.start(world.machine, world.topology, name=application.name, host="local").wait_ready()


def check(world: ComposeWorld, application: Application, *more: str) -> None:
    """All containers are connected, answer by their names, and are apart if they should be; `verify` agrees."""
    for container in (*application.containers, *more):
        wait_until(lambda name=container: address(world, application, name), world.rows)  # type: ignore[misc]
    wait_until(lambda: world.machine.netctl("status", world.topology).status == 0, world.rows)
    prefix = f"{application.name}-"
    for asker, server, wanted in application.reached:
        wait_until(
            lambda a=asker, s=server, w=wanted: read_name(world.daemon, prefix + a, s) == w,  # type: ignore[misc]
            lambda a=asker, s=server: f"{a} does not reach {s}\n{world.rows()}\n{world.compose('ps', '--all')}",  # type: ignore[misc]
        )
    for asker, other in application.apart:
        assert read_name(world.daemon, prefix + asker, address(world, application, other)) == ""
    assert "probes are as the file says" in world.netctl("verify", world.topology).out


def address(world: ComposeWorld, application: Application, container: str) -> str:
    """Its address on eth0, once there is a link that is up; "" before."""
    shown = world.daemon.docker(
        "exec", f"{application.name}-{container}", "ip", "-4", "-o", "address", "show", "eth0", check=False
    )
    return shown.partition("inet ")[2].partition("/")[0]


@pytest.mark.parametrize("application", [SHOP, VPN, FARM], ids=lambda one: one.name)
def test_the_life_of_an_application(project: ComposeWorld, application: Application) -> None:
    """Each event of its life leads to a network that `verify` finds as the file says, with an agent and no other command."""
    require_capability("compose")
    project.write(application.text("busybox:latest"))
    project.netctl("import", project.folder / "compose.yaml")
    agent = start_agent(project, application)
    project.compose("up", "--detach")
    check(project, application)

    if application.scaled:
        before = address(project, application, f"{application.scaled}-1")
        project.compose("up", "--detach", "--scale", f"{application.scaled}=4")
        check(project, application, f"{application.scaled}-3", f"{application.scaled}-4")
        project.compose("up", "--detach", "--scale", f"{application.scaled}=2")
        wait_until(lambda: f"{application.scaled}-3" not in project.rows(), project.rows)
        assert address(project, application, f"{application.scaled}-1") == before

    project.daemon.docker("tag", "busybox:latest", "changed:1")
    project.write(application.text("changed:1"))
    project.compose("up", "--detach")
    shown = project.daemon.docker("inspect", "--format", "{{.Config.Image}}", f"{application.name}-{application.changed}-1")
    assert shown == "changed:1"
    check(project, application)

    project.compose("restart", "--timeout", "0")
    check(project, application)

    agent.stop(signal.SIGKILL)
    project.reboot()
    if "network_mode" in application.services:
        # Docker starts containers in any order, and gives up one whose network's owner does not run yet (moby issue 11777).
        project.compose("up", "--detach")
    agent = start_agent(project, application)
    check(project, application)

    project.compose("down", "--timeout", "0")
    agent.wait_for(lambda it: it.state["in_step"] and len(it.state["waiting"]) == len(project_services(project)), LIMIT_S)
    assert project.machine.netctl("status", project.topology).status == 0
    agent.stop()
    project.netctl("destroy", project.topology)
    assert "netctl" not in project.machine.sh("ip -d link; nft list ruleset")


def project_services(project: ComposeWorld) -> list[str]:
    """The keys of the containers in the topology."""
    return [line for line in project.topology.read_text().splitlines() if "existing: {compose:" in line]
