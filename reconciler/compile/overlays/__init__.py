"""The tunnels between the hosts of a subnet: which kind they are, is chosen here and nowhere else. Pure.

base     what every kind of tunnel answers
vxlan    one link for each subnet, which knows behind which host each hardware address is
"""

from __future__ import annotations

from reconciler.compile.model import TunnelEnd
from reconciler.compile.overlays.base import Overlay
from reconciler.compile.overlays.vxlan import VxlanOverlay
from reconciler.topology.types import TunnelKind

_OVERLAYS: tuple[Overlay, ...] = (VxlanOverlay(),)
_BY_NAME = {overlay.name: overlay for overlay in _OVERLAYS}
_BY_LINK = {overlay.link_type.kind: overlay for overlay in _OVERLAYS}


def overlay_named(name: TunnelKind) -> Overlay:
    """The kind of tunnel that the file calls so."""
    return _BY_NAME[name]


def overlay_of(end: TunnelEnd) -> Overlay:
    """The kind of a tunnel."""
    return _BY_LINK[end.ref.kind]
