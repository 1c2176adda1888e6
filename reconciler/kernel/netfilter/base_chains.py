"""The base chains of a netdev table in the kernel's dump: the chain to which each sends packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.kernel.netfilter.set_values import VERDICT_CHAIN, VERDICT_CODE
from reconciler.kernel.netlink.rtnetlink import parse_attributes

HOOK_PRIORITY, HOOK_DEVICE, HOOK_DEVICES = 2, 3, 4
ACCEPT = 1  # NF_ACCEPT in linux/netfilter.h
EXPRESSION_NAME, EXPRESSION_DATA, IMMEDIATE_DATA, DATA_VERDICT = 1, 2, 2, 2
GOTO = (-4).to_bytes(4, signed=True)  # NFT_GOTO


def parse_hook(dev: str, hook: bytes, policy: bytes, rules: Sequence[bytes]) -> str:
    """The chain in the only rule of the base chain at `dev`; "" if any part of it was changed."""
    found = dict(parse_attributes(memoryview(hook)))
    as_made = devices_of(hook) == [dev.encode()] and not any(bytes(found[HOOK_PRIORITY])) and int.from_bytes(policy) == ACCEPT
    targets = [target for rule in rules for target in _targets(rule)]
    return targets[0] if as_made and len(targets) == len(rules) == 1 else ""


def devices_of(hook: bytes) -> list[bytes]:
    """The names of the links of a base chain."""
    found = dict(parse_attributes(memoryview(hook)))
    devices = [bytes(value) for _, value in parse_attributes(found.get(HOOK_DEVICES, memoryview(b"")))]
    return [each.rstrip(b"\0") for each in devices or [bytes(found.get(HOOK_DEVICE, b""))]]


def _targets(rule: bytes) -> Iterator[str]:
    """The chain of each `goto` among the expressions of a rule; "" for any other expression."""
    for _, expression in parse_attributes(memoryview(rule)):
        parts = dict(parse_attributes(expression))
        if bytes(parts[EXPRESSION_NAME]) != b"immediate\0":
            yield ""
            continue
        data = dict(parse_attributes(dict(parse_attributes(parts[EXPRESSION_DATA]))[IMMEDIATE_DATA]))
        verdict = dict(parse_attributes(data[DATA_VERDICT])) if DATA_VERDICT in data else {}
        is_goto = bytes(verdict.get(VERDICT_CODE, b"")) == GOTO
        yield bytes(verdict[VERDICT_CHAIN]).rstrip(b"\0").decode("utf-8", "replace") if is_goto else ""
