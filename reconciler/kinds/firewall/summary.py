"""Changes of the firewall, for users: the ports, policies and filters that are added, removed or changed.

A port that moves is one removed and one added element, both with the same target; for users it is one change. Elements
that only follow from the subnets (bridges and prefixes) are summed up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, cast, get_args

from reconciler.kinds.firewall.set_elements import PortFilter, PortMac, SenderAddress, SetElement
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic, PublishedPort
from reconciler.state.record import Change, Record

if TYPE_CHECKING:
    from reconciler.kinds.firewall.elements import FirewallElement

FEW = 3
"""The largest number of changes of one sort that are named; more are counted."""

T = TypeVar("T", bound=SetElement)

_Verb = Literal["add", "change", "remove"]
_VERBS: tuple[_Verb, ...] = get_args(_Verb)


@dataclass(frozen=True, slots=True)
class _ElementChange:
    """A change, by what the element says before and after it."""

    before: SetElement | None
    after: SetElement | None

    @property
    def element(self) -> SetElement:
        element = self.after or self.before
        assert element
        return element


_Describe = Callable[[Sequence[_ElementChange]], Iterable[str]]
"""What puts the changes of one sort of elements into words."""


def describe_elements(changes: Sequence[Change]) -> list[str]:
    """The changes of elements, in a few words each."""
    sorts: dict[_Describe, list[_ElementChange]] = {_ports: [], _policies: [], _filters: [], _rest: []}
    for change in changes:
        found = _ElementChange(_said_by(change.before), _said_by(change.after))
        sorts[_sort_of(found.element)].append(found)
    return [words for describe, sort in sorts.items() for words in describe(sort)]


def _sort_of(element: SetElement) -> _Describe:
    match element:
        case PublishedPort():
            return _ports
        case AllowedTraffic():
            return _policies
        case PortFilter() | PortMac() | SenderAddress(purpose="addresses"):
            return _filters
        case _:
            return _rest


def _said_by(record: Record | None) -> SetElement | None:
    """What a record says. All here are elements: `FirewallElement.describe_changes` gives no others."""
    return cast("FirewallElement", record).element if record else None


def summarise_ports(published: Iterable[PublishedPort]) -> list[str]:
    """The published ports of a container: `2 published ports (tcp 8080, udp 53)`; only their number if there are many."""
    ports = dict.fromkeys(f"{port.protocol} {port.listening}" for port in published)
    names = f" ({', '.join(ports)})" if len(ports) <= FEW else ""
    return [f"{len(ports):,} published {'port' if len(ports) == 1 else 'ports'}{names}"] if ports else []


def describe_ports(published: Sequence[PublishedPort]) -> list[str]:
    """The ports of a host that lead to containers on other hosts: `published port tcp 9090 to 10.44.0.20:90`."""
    targets: dict[str, list[str]] = {}
    for port in published:
        targets.setdefault(port.describe_listen(), []).append(port.describe_target())
    if len(targets) > FEW:
        return summarise_ports(published)
    return [f"published {listen} to {' and '.join(dict.fromkeys(found))}" for listen, found in targets.items()]


def _ports(changes: Sequence[_ElementChange]) -> list[str]:
    """One line for each port, whatever the families; only the counts of added, removed and changed ports if there are many."""
    lines = list(_each_port(changes))
    if len(lines) <= FEW:
        return [words if verb == "change" else f"{verb} {words}" for verb, words in lines]
    counts = Counter(verb for verb, _ in lines)
    return [f"{verb} {counts[verb]:,} published {'port' if counts[verb] == 1 else 'ports'}" for verb in _VERBS if counts[verb]]


def _each_port(changes: Sequence[_ElementChange]) -> Iterator[tuple[_Verb, str]]:
    """Each changed port with what is done to it; a removed and an added port with the same target are one that is changed."""
    gone = {port.describe_target(): port for port in _only(PublishedPort, (c.before for c in changes if not c.after))}
    targets: dict[tuple[_Verb, str], list[str]] = {}
    for change in changes:
        if not isinstance(change.after, PublishedPort):
            continue
        listen, target = change.after.describe_listen(), change.after.describe_target()
        if isinstance(change.before, PublishedPort):
            was = change.before.describe_target()
            targets.setdefault(("change", listen), []).append(f"{was} -> {target}" if was != target else f"{target} (re-created)")
        elif moved := gone.pop(target, None):
            now = change.after.listening
            now = now if moved.protocol == change.after.protocol else f"{change.after.protocol} {now}"
            targets.setdefault(("change", f"{moved.describe_listen()} -> {now}"), []).append(target)
        else:
            targets.setdefault(("add", listen), []).append(target)
    for target, port in gone.items():
        targets.setdefault(("remove", port.describe_listen()), []).append(target)
    yield from ((verb, f"{listen} to {' and '.join(found)}") for (verb, listen), found in targets.items())


def _only(shape: type[T], elements: Iterable[SetElement | None]) -> Iterator[T]:
    return (element for element in elements if isinstance(element, shape))


def _policies(changes: Sequence[_ElementChange]) -> Iterator[str]:
    """The added and removed services of one policy.

    A service with both, at another address or in a new table, is re-created.
    """
    come = _services(change.after for change in changes)
    gone = _services(change.before for change in changes)
    parts = {
        "add {}": [service for service in come if service not in gone],
        "{} (re-created)": [service for service in come if service in gone],
        "remove {}": [service for service in gone if service not in come],
    }
    for words, services in parts.items():
        if services:
            yield words.format(", ".join(services) if len(services) <= FEW else f"{len(services):,} services")


def _services(sides: Iterable[SetElement | None]) -> dict[str, None]:
    """The services that the elements allow, each once, in their order."""
    return dict.fromkeys(traffic.describe_services() for traffic in _only(AllowedTraffic, sides))


def _filters(changes: Sequence[_ElementChange]) -> Iterator[str]:
    """The added and removed addresses of a filter; lines for a whole filter would only repeat them."""
    for verb in ("add", "remove"):
        elements = [change.element for change in changes if (change.after is not None) == (verb == "add")]
        if len(elements) > FEW:
            yield f"{verb} {len(elements):,} filter entries"
        else:
            yield from (f"{verb}: {element.describe()}" for element in elements)


def _rest(changes: Sequence[_ElementChange]) -> Iterator[str]:
    if changes:
        verbs = {"add" if change.before is None else "remove" if change.after is None else "change" for change in changes}
        yield f"{verbs.pop() if len(verbs) == 1 else 'change'} firewall entries"
