"""Where the kernel side works: whose topology, which host, and the paths of both. The worker makes one at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.state.engines import ENGINES

DEFAULT_OPENVSWITCH = "unix:///var/run/openvswitch/db.sock"


@dataclass(frozen=True, slots=True)
class KernelContext:
    """What every module of `kernel/` needs to know. Tests give paths of their own."""

    topology: str
    host_key: str
    """`local`, `<topology>.lab.<host>`, or `<topology>.lab` for what stands between the lab's hosts: the name of the host's
    directory under /run/netctl."""
    run_directory: Path = Path("/run/netctl")
    netns_directory: Path = Path("/run/netns")
    own_netns: str = "/proc/self/ns/net"
    """The host's own namespace (""): that of the worker's main thread, which has entered it before anything else."""
    engines: tuple[tuple[str, str], ...] = ()
    """Runtime and where its engine is, for those that are not at the usual place."""
    openvswitch: str = ""
    """Where the OVSDB listens, `unix:/run/openvswitch/db.sock`; "" where the host has none to be asked."""
    machine_netns: str = "/proc/self/ns/net"
    """The namespace in which the worker was started: the machine's own, also where the host is one of a lab."""

    uplink: str = ""
    """The host's link to others, where the file names one; "" otherwise."""
    addresses: tuple[str, ...] = ()
    """Where others reach the host, as the file says, without prefix lengths."""
    peers: tuple[str, ...] = ()
    """The same of the file's other hosts."""

    def engine_url(self, runtime: str) -> str:
        """Where the engine of a runtime is: a socket's URL; LXC's directory."""
        return dict(self.engines).get(runtime) or ENGINES[runtime].usual_place

    @property
    def is_lab_world(self) -> bool:
        """Whether this is the lab itself: its router, its hosts as namespaces, `outside`; the machine's own is left alone."""
        return self.host_key == f"{self.topology}.lab"

    @property
    def host_directory(self) -> Path:
        """Holds the lock of the host, and what of it is remembered: its sysctls and its uplink."""
        return self.run_directory / self.host_key

    @property
    def topology_directory(self) -> Path:
        """Holds the logs of the topology's processes, and what its DHCP clients run."""
        return self.run_directory / self.topology
