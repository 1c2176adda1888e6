"""The kinds of links that netctl makes: `base` holds what they have in common, and each kind is one file.

`LINKS` is the only list of them. A further kind of link is a file here and an entry in it.
"""

from __future__ import annotations

from reconciler.kinds.links.base import Link
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.port import BridgePort
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan

LINKS: tuple[type[Link], ...] = (Bridge, Veth, Macvlan, Vxlan)
"""In the order in which links are made, as people read a plan."""
PORTS: tuple[type[BridgePort], ...] = tuple(kind for kind in LINKS if issubclass(kind, BridgePort))
"""Those that can be ports of a bridge."""
