"""The kinds of links that netctl creates: `base` holds their common part, and each kind is one file.

`LINKS` is the only list of them. A new kind of link is a file here and an entry in it.
"""

from __future__ import annotations

from reconciler.kinds.links.base import Link
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.port import BridgePort
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan

LINKS: tuple[type[Link], ...] = (Bridge, Veth, Macvlan, Vxlan)
"""The kinds in the order of creation, as users read a plan."""
PORTS: tuple[type[BridgePort], ...] = tuple(kind for kind in LINKS if issubclass(kind, BridgePort))
"""The kinds that can be ports of a bridge."""
TUNNELS: tuple[type[Tunnel], ...] = tuple(kind for kind in LINKS if issubclass(kind, Tunnel))
"""Those that join the hosts of a subnet."""
