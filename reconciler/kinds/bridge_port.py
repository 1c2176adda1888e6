"""The options of a bridge port (bridge(8)): what a new one has, and what ours have. Used by `veth` and `vxlan`.

Every option that decides whether a frame passes is compared, also where ours is the kernel's default. A port that an
administrator has locked or disabled cuts a container off in silence. An option that an older kernel lacks counts as the default.
"""

from __future__ import annotations

from reconciler.kinds.ownership import links_of
from reconciler.state.snapshot import LinkInfo, Snapshot

Options = tuple[tuple[str, str], ...]

PORT_DEFAULTS: Options = (
    ("bcast_flood", "on"),
    ("flood", "on"),
    ("group_fwd_mask", "0x0"),
    ("hairpin", "off"),
    ("isolated", "off"),
    ("learning", "on"),
    ("locked", "off"),
    ("mcast_flood", "on"),
    ("neigh_suppress", "off"),
    ("state", "forwarding"),
)
"""The port options that are compared, as a new port has them; sorted, as a reading gives them."""
QUIET: Options = (("flood", "off"), ("learning", "off"))
"""Of every port of ours: a static entry says what is behind it (`fdb`), and unicast for another address is not for it."""
FILTERED: Options = (("group_fwd_mask", "0xfffd"),)
"""Of a container's port: frames to link-local groups (01:80:c2:00:00:0x) are to be forwarded, so they come to the filter.

The bridge's filter drops them. Else the kernel hands them to the host past the filter, and those of STP and LLDP past every hook
of the bridge (br_handle_frame). The one bit that is not set is that of pause frames: the kernel drops those itself.
"""


def port_options(*options: tuple[str, str]) -> Options:
    """The options of a port that differs from a new one by these."""
    return tuple((dict(PORT_DEFAULTS) | dict(options)).items())


def read_port_options(snapshot: Snapshot, netns: str, info: LinkInfo) -> Options:
    """Those of a live port. Its state is compared only where the kernel has no reason of its own to hold it back.

    It does so without a carrier, under STP, and at a bridge that is down.
    """
    held = {name: value for name, value in info.port_options if name in _NAMES}
    master = links_of(snapshot, netns).links.get(info.master)
    decides = master is None or not master.up or dict(master.options).get("stp_state", "0") != "0"
    if decides or not (info.up and info.carrier):
        held.pop("state", None)
    return tuple((dict(PORT_DEFAULTS) | held).items())


def changed_options(before: Options, after: Options) -> Options:
    """What must be said of the port."""
    return tuple(option for option in after if option not in before)


_NAMES = frozenset(dict(PORT_DEFAULTS))
