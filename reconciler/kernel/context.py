"""The context of the kernel side: topology, host, and their paths. The worker creates one at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.state.engines import ENGINES

DEFAULT_OPENVSWITCH = "unix:///var/run/openvswitch/db.sock"


@dataclass(frozen=True, slots=True)
class KernelContext:
    """The data that every module of `kernel/` needs. Tests give paths of their own."""

    topology: str
    host_key: str
    """`local`, `<topology>.lab.<host>`, or `<topology>.lab` for the lab itself: the host's directory under /run/netctl."""
    run_directory: Path = Path("/run/netctl")
    netns_directory: Path = Path("/run/netns")
    own_netns: str = "/proc/self/ns/net"
    """The host's own namespace (""): that of the worker's main thread, which entered it before anything else."""
    engines: tuple[tuple[str, str], ...] = ()
    """Runtime and where its engine is, for those that are not at the usual place."""
    openvswitch: str = ""
    """The socket of the OVSDB, `unix:/run/openvswitch/db.sock`; "" if the host has none to be read."""
    machine_netns: str = "/proc/self/ns/net"
    """The namespace in which the worker was started: the machine's own, also if the host is one of a lab."""

    uplink: str = ""
    """The host's link to others, if the file names one; "" otherwise."""
    addresses: tuple[str, ...] = ()
    """The host's addresses in the file, without prefix lengths."""
    peers: tuple[str, ...] = ()
    """The same of the file's other hosts."""

    def engine_url(self, runtime: str) -> str:
        """The URL of a runtime's engine: a socket; LXC's directory."""
        return dict(self.engines).get(runtime) or ENGINES[runtime].usual_place

    @property
    def is_lab_world(self) -> bool:
        """Whether this is the lab itself: its router, its hosts as namespaces, `outside`.

        It leaves the machine's own namespace alone.
        """
        return self.host_key == f"{self.topology}.lab"

    @property
    def host_directory(self) -> Path:
        """The directory of the host's lock, and of what netctl remembers of it: sysctls and uplink."""
        return self.run_directory / self.host_key

    @property
    def topology_directory(self) -> Path:
        """The directory of the logs of the topology's processes, and of the scripts of its DHCP clients."""
        return self.run_directory / self.topology
