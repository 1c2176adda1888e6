"""A host of the file."""

from __future__ import annotations

from pydantic import Field

from reconciler.topology.fields import Addresses, ConnectTo, Engine, InterfaceName, LxcPath
from reconciler.topology.model.base import Model


class HostModel(Model):
    """A host: a machine with a network stack of its own."""

    connect: ConnectTo = Field(
        description="How netctl reaches it: `local` (this machine), `lab` (a namespace on this machine), or ssh://[user@]name[:port]."
    )
    address: Addresses = Field((), description="Where other hosts reach it (the underlay): one address, or [IPv4, IPv6].")
    uplink: InterfaceName = Field(
        "",
        description="Its interface to the underlay. Default: the one with `address`, else the default route's; eth0 in the lab.",
    )
    docker: Engine = Field("", description="Docker's socket. Default: DOCKER_HOST, else unix:///var/run/docker.sock.")
    podman: Engine = Field("", description="Podman's socket. Default: unix:///run/podman/podman.sock.")
    lxc: LxcPath = Field("", description="The directory of LXC's containers (lxc.lxcpath). Default: /var/lib/lxc.")
    openvswitch: Engine = Field(
        "", description="The socket of Open vSwitch's database. Default: unix:///var/run/openvswitch/db.sock; in the lab none."
    )
