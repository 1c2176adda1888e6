"""Parts of a topology file, as documents show them, made into whole files."""

from __future__ import annotations

import yaml

NAMES = {
    "web": {"networks": {"front": "auto"}},
    "db": {"networks": {"back": "auto"}},
    "worker": {"networks": {"back": "auto"}},
}
SUBNETS = {"front": {"cidr": "10.44.0.0/24"}, "back": {"cidr": "10.45.0.0/24"}}


def complete(part: str) -> str:
    """The part, with hosts and subnets for what it names: the text of a valid file, if the part itself is valid."""
    tree = yaml.safe_load(part)
    whole = {"version": 1, "name": "shop", "hosts": {"alpha": {"connect": "local", "address": "192.0.2.11"}}, **tree}
    subnets = {**({} if "subnets" in tree else SUBNETS), **tree.get("subnets", {})}
    named = str(tree)
    assumed = {name: made for name, made in NAMES.items() if "policies" in tree and name in named}
    containers = {**assumed, **tree.get("containers", {})}
    if "hosts" in tree:
        whole["hosts"] = tree["hosts"]
    if "back" in str(containers) or "front" in str(containers):
        subnets = {**SUBNETS, **subnets}
    return yaml.safe_dump({**whole, "subnets": subnets, "containers": containers}, sort_keys=False)
