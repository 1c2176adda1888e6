"""A topology grows from two hosts to three, to eight, and back to two, while two containers talk on."""

from __future__ import annotations

import socket
import threading
import time
from itertools import permutations

import pytest

from tests.harness.netctl import run_netctl
from tests.harness.worlds.overlay import PATIENCE_S, LabWorld

pytestmark = pytest.mark.kernel

HOSTS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


def text_of(count: int, overlay: str = "vxlan") -> str:
    """A topology of `count` hosts, with two containers on each."""
    hosts = "".join(f"  {host}: {{connect: lab, address: 192.0.2.{11 + n}}}\n" for n, host in enumerate(HOSTS[:count]))
    containers = "".join(f"  {host}-{n}: {{host: {host}, networks: {{front: auto}}}}\n" for host in HOSTS[:count] for n in (1, 2))
    cidr = "10.179.0.0/24" if overlay == "routes" else "[10.179.0.0/24, 'fd00:179::/64']"
    subnets = f"subnets: {{front: {{cidr: {cidr}, overlay: {overlay}}}}}\n"
    return f"version: 1\nname: NAME\nhosts:\n{hosts}{subnets}containers:\n{containers}"


class Stream:
    """A TCP connection between two containers that echoes a line now and then, and notes what fails."""

    def __init__(self, world: LabWorld, one: str, two: str) -> None:
        """It is open when this returns."""
        self._server = world.open(two, socket.AF_INET, socket.SOCK_STREAM)
        self._server.bind(("", 7000))
        self._server.listen(1)
        self._client = world.open(one, socket.AF_INET, socket.SOCK_STREAM)
        self._client.connect((world.addresses(two)[0], 7000))
        self._far, _ = self._server.accept()
        self._stop = threading.Event()
        self.rounds = 0
        self.fault = ""
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self._client.sendall(b"x" * 3000)
                left = 3000
                while left:
                    left -= len(self._far.recv(left))
                self.rounds += 1
            except OSError as error:
                self.fault = str(error)
                return

    def goes_on(self) -> bool:
        """Whether nothing went wrong, and bytes still come back."""
        rounds = self.rounds
        deadline = time.monotonic() + PATIENCE_S
        while self.rounds == rounds and not self.fault and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.fault and self.rounds > rounds

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for each in (self._client, self._far, self._server):
            each.close()


def first_to_all(world: LabWorld, count: int) -> list[tuple[str, str]]:
    """The first container of each host, and all others' addresses."""
    names = [f"{host}-{n}" for host in HOSTS[:count] for n in (1, 2)]
    addresses = {name: world.addresses(name) for name in names}
    return [(one, address) for one, two in permutations(names, 2) if one.endswith("-1") for address in addresses[two]]


def test_hosts_come_and_go_under_a_stream(world: LabWorld) -> None:
    """The stream lives through all of it, no container's address moves, and of a host that went nothing is left on the others."""
    world.apply(text_of(2))
    stream = Stream(world, "alpha-1", "beta-1")
    try:
        before = world.addresses("alpha-1") + world.addresses("beta-2")
        world.apply(text_of(3))
        assert world.unreachable(first_to_all(world, 3)) == []
        world.apply(text_of(8))
        assert world.unreachable(first_to_all(world, 8), size=1450) == []
        world.verify()
        world.apply(text_of(2))
        assert world.unreachable(first_to_all(world, 2)) == []
        assert world.addresses("alpha-1") + world.addresses("beta-2") == before
        entries = world.inside("lab.alpha").run("bridge", "fdb", "show").stdout
        assert "192.0.2.12" in entries
        assert "192.0.2.13" not in entries
        assert not world.inside("lab.gamma").path.exists()
        assert stream.goes_on()
    finally:
        stream.close()


def test_another_overlay_replaces_it_in_place(world: LabWorld) -> None:
    """From VXLAN to routes and back: packets pass after each, and what the other one had is gone."""
    world.apply(text_of(3, "routes"))
    assert world.unreachable(first_to_all(world, 3), size=1500) == []
    alpha = world.inside("lab.alpha")
    assert alpha.run("ip", "link", "show", "type", "vxlan").stdout == ""
    world.apply(text_of(3))
    assert world.unreachable(first_to_all(world, 3)) == []
    assert "10.179.0." not in alpha.run("ip", "route", "show", "dev", "eth0").stdout
    assert run_netctl("diff", world.file).status == 0
