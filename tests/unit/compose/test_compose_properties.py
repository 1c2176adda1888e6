"""Whatever Compose prints, both files are well-formed: random projects, with foreign text in every value."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.compose.convert import convert_project
from reconciler.compose.model import parse_project
from reconciler.compose.override_text import REFUSED_KEYS, RESET_KEYS, Words, render_override
from reconciler.compose.topology_text import render_topology
from reconciler.topology.load import parse_topology

KNOWN = {*RESET_KEYS, *REFUSED_KEYS, "network_mode", "entrypoint", "command", "hostname", "extra_hosts"}
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,70}", fullmatch=True)
TEXTS = st.one_of(st.text(max_size=30), st.sampled_from(["", "lo", "eth0", "10.9.0.5", "fd00::5", "02:00:00:00:00:01", "x\n- y"]))
PORTS = st.one_of(st.integers(-1, 70000), st.sampled_from(["80", "80-90", "90-80", "0"]), TEXTS)
PORT = st.fixed_dictionaries({"target": PORTS}, optional={"published": PORTS, "host_ip": TEXTS, "protocol": TEXTS})
KEYS = ("ipv4_address", "ipv6_address", "mac_address", "interface_name", "later")
USE = st.one_of(
    st.none(), st.fixed_dictionaries({}, optional={**dict.fromkeys(KEYS, TEXTS), "aliases": st.lists(TEXTS, max_size=2)})
)
WORDS = st.lists(TEXTS, max_size=2)
SERVICE = {
    **dict.fromkeys(("hostname", "container_name", "mac_address", "later"), TEXTS),
    **dict.fromkeys(("links", "external_links", "extra_hosts", "profiles"), WORDS),
    "ports": st.lists(PORT, max_size=3),
    "scale": st.integers(0, 3),
}
OPTIONS = st.dictionaries(st.one_of(TEXTS, st.just("com.docker.network.driver.mtu")), TEXTS, max_size=2)
NETWORK = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("name", "driver", "later"), TEXTS),
        **dict.fromkeys(("internal", "enable_ipv6", "external"), st.booleans()),
        "driver_opts": OPTIONS,
        "ipam": st.fixed_dictionaries(
            {"config": st.lists(st.fixed_dictionaries({"gateway": TEXTS, "ip_range": TEXTS}), max_size=2)}
        ),
    },
)


@st.composite
def projects(draw: st.DrawFn) -> dict[str, Any]:
    """Up to four networks, and up to five services in some of them."""
    networks = draw(st.dictionaries(NAMES, NETWORK, min_size=1, max_size=4))
    services = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)):
        keys = draw(st.lists(st.sampled_from(sorted(networks)), min_size=1, unique=True))
        services[name] = {"networks": {key: draw(USE) for key in keys}, **draw(st.fixed_dictionaries({}, optional=SERVICE))}
    return {"name": "shop", "services": services, "networks": networks}


@settings(max_examples=60, deadline=None)
@given(projects(), TEXTS)
def test_any_project_makes_valid_files(project: dict[str, Any], word: str) -> None:
    """`validate` accepts the topology. YAML reads the override: one entry for each service, with nothing else in it."""
    imported = convert_project(parse_project(json.dumps(project).encode()), [word])
    topology = parse_topology(render_topology(imported.topology).encode())
    assert len(topology.declared) == len(imported.containers)
    waits = {name: Words((word,), (word,)) for name in imported.containers}
    text = render_override(imported, [word], waits).replace("!reset ", "").replace("!override", "")
    services = yaml.safe_load(text)["services"]
    assert set(services or {}) == set(imported.containers)
    for keys in (services or {}).values():
        assert (keys["network_mode"], keys["command"]) == ("none", [word])
        assert set(keys) <= KNOWN
