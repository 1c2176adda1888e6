"""A real host and the fake one, side by side. Each gets the same topologies and the same damage, and is read in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from reconciler.kernel.context import KernelContext
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.snapshot import Interest, read_snapshot
from reconciler.kinds import recognise_all, with_strays
from reconciler.plan.execute import BatchRunner, Failure, execute_batches
from reconciler.plan.order import Batch
from reconciler.plan.plan import compile_plan
from reconciler.state.host import HostState
from reconciler.state.ref import HOST, Ref, netns_path_name
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.step import Step, StepError
from tests.harness.dockerd import dockerd_in
from tests.harness.fakes.host import FakeHost
from tests.harness.faults.both import Damage
from tests.harness.netns import Namespace
from tests.harness.topologies.every_kind import ADDRESS, MAC, ROUTER
from tests.harness.worlds.openvswitch import START

NOTHING = HostState({})
PARTNER = """\
ip link add eth0 address {mac} type veth peer name eth0 netns {outside}
ip address add {address} dev eth0
ip link set eth0 up
"""


@dataclass(slots=True)
class Side:
    """One of the two: what carries out batches, and what a reading of it gives."""

    name: str
    start: Callable[[], AbstractContextManager[BatchRunner]]
    """As each netctl starts by itself, with nothing that an earlier one holds open."""
    read: Callable[[HostState], Snapshot]
    """Given a state, whose settings are read."""

    def live(self, wanted: HostState = NOTHING) -> HostState:
        """What is recognised, with what conflicts with `wanted`."""
        snapshot = self.read(wanted)
        return with_strays(recognise_all(snapshot), snapshot, wanted)

    def reach(self, wanted: HostState) -> Failure | None:
        """Plan and execute; why it failed, None if it did not."""
        plan = compile_plan(self.live(wanted), wanted)
        with self.start() as host:
            return execute_batches(host, plan.remove + plan.make, lambda done, total: None).failure

    def tries(self, step: Step) -> bool:
        """Whether the step is carried out."""
        try:
            with self.start() as host:
                host.run(Batch(step.backend, step.netns, (step,), (Ref("step", step.netns, ""),)))
        except StepError:
            return False
        return True


@dataclass(slots=True)
class Both:
    """The two sides of one topology. `own` is the namespace that stands for the real host."""

    topology: str
    own: Namespace
    real: Side
    fake: Side
    fake_host: FakeHost

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.real, self.fake

    def damage(self, damage: Damage, applied: HostState) -> None:
        """Do it to both."""
        for side in self.sides:
            for step in damage.steps(applied):
                assert side.tries(step), step
        if damage.command:
            name = netns_path_name(self.topology, damage.netns) if damage.netns != HOST else self.own.name
            Namespace(name).run("sh", "-euc", damage.command)
            damage.change(self.fake_host)


@contextmanager
def build_both(topology: str, make_namespace: Callable[[str], Namespace], folder: Path, needs: tuple[str, ...]) -> Iterator[Both]:
    """An uplink on a LAN with nothing else on it, Docker's chain, and what is needed besides."""
    own, outside = make_namespace("lab.x"), make_namespace("lab.outside")
    outside.run("ip", "link", "set", "lo", "up")
    own.run("sh", "-euc", PARTNER.format(mac=MAC, outside=outside.name, address=ADDRESS))
    outside.run("sh", "-euc", f"ip address add {ROUTER}/24 dev eth0; ip link set eth0 up")
    for command in ("iptables", "ip6tables"):
        own.run(command, "-w", "5", "-N", "DOCKER-USER")
    with ExitStack() as stack:
        engines = [(runtime, f"unix://{folder}/none.sock") for runtime in ("docker", "podman")]
        if "dockerd" in needs:
            engines[0] = ("docker", stack.enter_context(dockerd_in(own.name, "--iptables=false", "--bridge=none")).url)
        if "openvswitch" in needs:
            stack.callback(own.run, "sh", "-c", f"kill $(cat {folder}/*.pid)")
            own.run("sh", "-euc", START, "sh", str(folder))
        context = KernelContext(
            topology,
            own.name,
            run_directory=folder / "run",
            own_netns=str(own.path),
            engines=(*engines, ("lxc", str(folder / "lxc"))),
            openvswitch=f"unix:{folder}/db.sock" if "openvswitch" in needs else "",
        )
        fake = FakeHost(topology)
        fake.add_uplink("eth0", MAC, ADDRESS)
        fake.chains = {"iptables": [], "ip6tables": []}
        interest = {"docker": dict[str, str]()} if "dockerd" in needs else {}

        def read(wanted: HostState) -> Snapshot:
            with closing(Namespaces(context)) as namespaces:
                return read_snapshot(namespaces, Interest(settings_of(wanted), interest, openvswitch="openvswitch" in needs))

        def start() -> AbstractContextManager[KernelHost]:
            namespaces = Namespaces(context)
            read_snapshot(namespaces, Interest({}, interest, openvswitch="openvswitch" in needs))  # netctl always reads first
            return closing(KernelHost(namespaces))

        real_side = Side("real", start, read)
        fake_side = Side("fake", lambda: nullcontext(fake), lambda wanted: fake.snapshot(settings_of(wanted)))
        yield Both(topology, own, real_side, fake_side, fake)


def settings_of(state: HostState) -> dict[str, tuple[str, ...]]:
    """The kernel settings that a state has, by namespace."""
    found: dict[str, tuple[str, ...]] = {}
    for ref in state.records:
        if ref.kind == "sysctl":
            found[ref.netns] = (*found.get(ref.netns, ()), ref.name)
    return found
