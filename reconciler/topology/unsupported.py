"""What the format has and this version of netctl cannot do yet: one refusal each, with its sentence.

`load` calls `check_supported` last, on a topology that is right in itself. Each line of the tables, and each function that
`check_supported` calls, can be removed on its own when the feature comes.
"""

from __future__ import annotations

from reconciler.topology.faults import FaultList
from reconciler.topology.model import TopologyModel
from reconciler.topology.types import Path

_NOT_YET = "this version of netctl cannot do that yet"

_CONNECT = {
    "ssh": ("hosts over ssh", "write `connect: lab` to rehearse it here, or `connect: local` and run netctl on the host"),
}
_MODES = {
    "direct": ("subnets of mode direct", "write nat, routed or isolated"),
    "macvlan": ("subnets of mode macvlan", "write nat, routed or isolated"),
}
_BRIDGES = {
    "openvswitch": ("Open vSwitch bridges", "write `bridge: linux`, or leave `bridge` out"),
}
_RUNTIMES = {
    "lxc": ("containers of runtime lxc", "write docker, or netns for a bare namespace"),
    "podman": ("containers of runtime podman", "write docker, or netns for a bare namespace"),
}


def check_supported(model: TopologyModel, faults: FaultList) -> None:
    """Refuse what comes later."""
    for name, host in model.hosts.items():
        _refuse_word(host.connect.scheme, _CONNECT, ("hosts", name, "connect"), faults)
    for name, subnet in model.subnets.items():
        _refuse_word(subnet.mode, _MODES, ("subnets", name, "mode"), faults)
        _refuse_word(subnet.bridge, _BRIDGES, ("subnets", name, "bridge"), faults)
    for name, container in model.containers.items():
        _refuse_word(container.runtime or "", _RUNTIMES, ("containers", name, "runtime"), faults)
    _refuse_reserved_keys(model, faults)


def _refuse_word(word: str, refused: dict[str, tuple[str, str]], path: Path, faults: FaultList) -> None:
    if word in refused:
        what, help_text = refused[word]
        faults.add(path, f"{what}: {_NOT_YET}", help_text)


def _refuse_reserved_keys(model: TopologyModel, faults: FaultList) -> None:
    for name, container in model.containers.items():
        if container.dns is not None:
            faults.add_at_key(("containers", name, "dns"), f"the key `dns` is reserved: {_NOT_YET}", "remove it")
        for subnet, network in container.networks.items():
            if network.rate is not None:
                faults.add_at_key(
                    ("containers", name, "networks", subnet, "rate"), f"the key `rate` is reserved: {_NOT_YET}", "remove it"
                )
