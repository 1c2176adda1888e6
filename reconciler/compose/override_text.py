"""The text of `compose.netctl.yaml`: what Compose must not do, because netctl does it, and the names of neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.compose.convert import ImportedProject, owner_of
from reconciler.compose.model import ComposeService
from reconciler.compose.peers import HOST_GATEWAY, Names, find_given, find_names, gateways_of, own_host_name
from reconciler.compose.yaml_text import comments, listed, quoted, scalar

RESET_KEYS = ("networks", "ports")
"""Compose gives a container none of them; `ports` would have no effect and mislead (Compose ignores it)."""
REFUSED_KEYS = ("links", "external_links", "mac_address")
"""The engine refuses these beside `network_mode: none`."""


@dataclass(frozen=True, slots=True)
class Words:
    """What an image runs: the words before the command, and the command. Both have `$` doubled, as Compose wants it."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]


WAIT = 'until read -r up 2>/dev/null </sys/class/net/eth0/carrier && [ "$$up" = 1 ]; do sleep 0.1; done; exec "$$@"'
"""The shell's line that waits for a network. netctl sets a link up last, so the carrier is the signal that all is there."""


RUNTIME, WAIT_LABEL = "netctl", "netctl.wait-for"
"""The runtime that `netctl hook install` adds, and the label that names the topology for which a container waits."""


def render_override(
    imported: ImportedProject, heading: Iterable[str], waits: Mapping[str, Words], *, has_hook: bool = False
) -> str:
    """The whole file. `waits` has the services that wait for their network, with what they run then.

    With the hook, Docker starts no service before its network is there.
    """
    lines = [*comments(heading, 0), f"name: {scalar(imported.project.name)}", "services:"]
    for number, name in enumerate(imported.containers):
        lines += [""] if number else []
        lines += _service(imported, name, waits.get(name))
        if has_hook:
            lines += [f"    runtime: {RUNTIME}", f"    labels: {{{WAIT_LABEL}: {scalar(imported.topology.name)}}}"]
    for name, owner, condition in _find_cut_off(imported):
        lines += ["", f"  {scalar(name)}:", "    # its network ends with that of the other, so Compose restarts both"]
        lines += [f"    depends_on: {{{scalar(owner)}: {{condition: {scalar(condition)}, restart: true}}}}"]
    return "\n".join(lines) + "\n"


def _find_cut_off(imported: ImportedProject) -> Iterator[tuple[str, str, str]]:
    """Services in the network of another that Compose would not restart with it: both names, and the condition of the start.

    Without `depends_on` of its own, Compose adds one with `restart: true` to its normal form.
    """
    for name, service in imported.project.services.items():
        owner = owner_of(service)
        depends = service.depends_on if isinstance(service.depends_on, Mapping) else {}
        given = depends.get(owner)
        if owner in imported.containers and isinstance(given, Mapping) and given.get("restart") is not True:
            yield name, owner, str(given.get("condition") or "service_started")


def _service(imported: ImportedProject, name: str, words: Words | None) -> Iterator[str]:
    service = imported.project.services[name]
    yield f"  {scalar(name)}:"
    yield "    network_mode: none"
    given = [key for key in REFUSED_KEYS if getattr(service, key)]
    yield from (f"    {key}: !reset null" for key in (*RESET_KEYS, *given))
    if words:
        yield f"    entrypoint: {listed(('/bin/sh', '-c', WAIT, 'netctl-wait', *words.entrypoint))}"
        yield f"    command: {listed(words.command)}"
    host_name = own_host_name(name, service)
    if host_name and imported.containers[name].attachments:
        yield f"    hostname: {scalar(host_name)}"
    yield from _extra_hosts(imported, name, service)


def _extra_hosts(imported: ImportedProject, name: str, service: ComposeService) -> Iterator[str]:
    names, given = find_names(imported, name), find_given(service)
    names = {word: addresses for word, addresses in names.items() if word not in given}  # the file's own go first
    gateways = gateways_of(imported, name)
    replaces = gateways and any(HOST_GATEWAY in addresses for addresses in given.values())
    if replaces:
        # The engine's host-gateway is an address of its own bridge. A list in an override is only added to the file's.
        yield "    # in place of the file's list, because host-gateway would be an address of Docker's bridge"
        own = {word: _without_host_gateway(addresses, gateways) for word, addresses in given.items()}
        names = {**own, **names}
    if names:
        yield f"    extra_hosts:{' !override' if replaces else ''}"
        yield from _lines_of(names)


def _without_host_gateway(addresses: list[str], gateways: list[str]) -> list[str]:
    return [each for address in addresses for each in (gateways if address == HOST_GATEWAY else [address])]


def _lines_of(names: Names) -> Iterator[str]:
    for word, addresses in names.items():
        texts = [address if _is_plain(address) else quoted(address) for address in addresses]
        yield f"      {scalar(word)}: {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}"


def _is_plain(address: str) -> bool:
    """Whether it is an IPv4 address, which no YAML reads as a number: it has three dots."""
    return address.count(".") == 3 and address.replace(".", "").isdecimal() and address.isascii()
