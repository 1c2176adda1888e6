"""Foreign routes on the host that prevent a plan.

The kernel has one route for each destination and metric. In a container, and on owned links, netctl deletes a foreign
one (`kinds.stray`). On the host it may be another program's, so the error names it.

A route by a nexthop object (ip-nexthop(8)) cannot move with an uplink. The object belongs to the uplink, and without it
the route would be another one afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.errors import HostError
from reconciler.kernel.facts.foreign import is_own
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink.dump import read_links, read_routes
from reconciler.kernel.netlink.nexthops import read_object_routes
from reconciler.state.naming import ROUTE_PROTOCOL, group_of
from reconciler.state.ref import HOST
from reconciler.state.snapshot import RouteInfo
from reconciler.state.steps.addresses import RouteAdd, RouteDelete, StrayRouteDelete
from reconciler.state.steps.step import Step
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease

SHOWN_MAX = 5
"""The most routes that an error names."""


def check_routes(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """HostError if a foreign route, which this plan does not delete, has the key of one to add on the host."""
    own = [step for step in steps if step.netns == HOST]
    wanted = {(step.family, step.dst, step.metric): step for step in own if isinstance(step, RouteAdd)}
    if not wanted:
        return
    leaving = {(step.family, step.dst, step.metric, step.via) for step in own if isinstance(step, RouteDelete | StrayRouteDelete)}
    for info in read_routes(namespaces.socket(HOST), every_type=True):
        step = wanted.get(info.key)
        is_own_by_tag = (info.protocol, info.metric) == (ROUTE_PROTOCOL, group_of(namespaces.context.topology))
        if step is None or is_own_by_tag or (*info.key, info.via) in leaving:
            continue
        links = read_links(namespaces.socket(HOST))
        if info.index in links and is_own(namespaces.context.topology, links[info.index]):
            continue  # the plan deletes it, with its link or as a stray
        words = _render(info, links[info.index].name if info.index in links else "")
        raise HostError(
            f"cannot add the route to {step.dst} over {step.dev}: the host has another in its place: {words}",
            f"remove it, or let its owner choose another metric: ip -{info.family} route delete {words}",
        )


def check_uplinks(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """HostError if an uplink that is to move has a route by a nexthop object."""
    moves = [step for step in steps if isinstance(step, UplinkEnslave | UplinkRelease)]
    if not moves:
        return
    route_socket = namespaces.socket(HOST)
    numbers = {link.name: link.index for link in read_links(route_socket).values()}
    for step in moves:
        for dev in (name for name in (step.name, step.bridge) if name in numbers):
            if routes := read_object_routes(route_socket, numbers[dev]):
                shown = ", ".join(f"{route.selector} (id {route.nexthop})" for route in routes[:SHOWN_MAX])
                more = f" and {len(routes) - SHOWN_MAX} more" if len(routes) > SHOWN_MAX else ""
                one = routes[0]
                raise HostError(
                    f"cannot move the routes of {dev}: these lead by nexthop objects: {shown}{more}",
                    "replace each by a plain route, and apply again:"
                    f" ip -{one.family} route replace {one.selector} via {one.via or 'ROUTER'} dev {dev}",
                )


def _render(info: RouteInfo, dev: str) -> str:
    """The route as ip-route(8) writes it."""
    form = f"{info.form} " if info.form and " " not in info.form else ""
    words = [f"{form}{info.dst}", f"via {info.via}" if info.via else "", f"dev {dev}" if dev and not form else ""]
    return " ".join(filter(None, (*words, f"metric {info.metric}" if info.metric else "")))
