"""What people write by mistake, or by the habits of other tools: one fault, at its place, that says what is meant.

In the texts, `§` marks the place of the fault.
"""

from __future__ import annotations

import re

import pytest

from reconciler.errors import Fault, TopologyError
from reconciler.topology.foreign import KEYS
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, HEAD, HOST, container, host, place, policy, subnet

WEB = BASE + "containers:\n  web:\n    host: alpha\n    networks: {front: auto}\n"
PORTS = WEB + "    ports:\n"
NETWORKS = BASE + "containers:\n  web:\n    networks:\n"
ROUTE = BASE + "containers: {web: {networks: {front: {routes: [€]}}}}\n"
SLIPS = {
    # a colon without a space
    "glued": (WEB.replace("host: alpha", "host§:alpha"), "needs a space after it: `host:alpha`", "write `host: alpha`"),
    "glued at the top": ("version§:1\nname: shop\n" + HOST, "`version:1`", "write `version: 1`"),
    "glued in braces": (container("{networks: {§front:auto}}"), "`front:auto`", "write `front: auto`"),
    "glued to braces": (WEB.replace("networks: {front: auto}", "§networks:{front: auto}"), "networks:{front", "networks: {front"),
    "a key without a colon": ("version§ 1\nname: shop\n" + HOST, "followed by a colon: `version 1`", "write `version: 1`"),
    "an equals sign": (WEB.replace("host: alpha", "host§ = alpha"), "`host = alpha`", "write `host: alpha`"),
    "two keys in a line": (
        HEAD + "hosts:\n  alpha: §connect: local\n", "two keys stand in one line",
        "`alpha: {connect: local}`"
    ),
    "an item without a dash": (PORTS + "      - 80\n      §81\n", "an item of a list starts with a dash", "write `- 81`"),
    "a network without a colon": (NETWORKS + "      §front 10.44.0.10\n", "`front 10.44.0.10`", "write `front: 10.44.0.10`"),
    "a network's colon, and another": (
        NETWORKS + "      front§ 10.44.0.10\n      back: auto\n", "`front 10.44.0.10`",
        "write `front: 10.44.0.10`"
    ),
    "an IPv6 address without a colon": (
        NETWORKS + "      front§ fd00::1\n      back: auto\n", "`front fd00::1`",
        "write `front: fd00::1`"
    ),
    "two networks without colons": (
        NETWORKS + "      §front auto\n      back auto\n", "`front auto back auto`",
        "write `front: auto` and `back: auto`"
    ),
    "a colon before braces": (
        NETWORKS + "      §front {address: auto}\n", "`front {address: auto}`",
        "write `front: {address: auto}`"
    ),
    "a colon in braces": (container("{networks: {§front auto}}"), "`front auto`", "write `front: auto`"),
    "a subnet without a colon": (
        HEAD + HOST + "subnets:\n  §front {cidr: 10.44.0.0/24}\n", "followed by a colon",
        "write `front: {cidr: 10.44.0.0/24}`"
    ),
    "a host without a colon": (
        HEAD + "hosts:\n  alpha§ {connect: lab, address: 192.0.2.11}\n", "followed by a colon",
        "write `alpha: {connect: lab, address: 192.0.2.11}`"
    ),
    # the dash of a list
    "the first dash": (PORTS + '      §"80:80"\n      - "81:81"\n', "starts with a dash and a space", 'write `- "80:80"`'),
    "the second dash": (PORTS + '      - "80:80"\n      §"81:81"\n', "starts with a dash and a space", 'write `- "81:81"`'),
    "the dash of a pair": (PORTS + "      - 80:80\n      §81:81\n      - 82\n", "a dash and a space", "write `- 81:81`"),
    "the dash of a mapping": (PORTS + "      - {listen: 80}\n      §{listen: 81}\n", "a dash", "write `- {listen: 81}`"),
    "the dash of keys": (PORTS + "      - listen: 80\n      §listen: 81\n", "a dash and a space", "write `- listen: 81`"),
    "the dash of an option": (WEB + "    command:\n      - sh\n      §-c\n      - x\n", "a dash and a space", "write `- -c`"),
    "the dash of a word": (WEB + "    command:\n      - sleep\n      §infinity\n", "a dash", "write `- infinity`"),
    "a glued dash": (PORTS + "      §-80:80\n", "needs a space after it: `-80:80`", "write `- 80:80`"),
    "glued dashes": (PORTS + '      §-"80:80"\n      -"81:81"\n', "needs a space", 'write `- "80:80"`'),
    "a glued dash of a policy": (WEB + "policies:\n  §-{allow: web, to: front}\n", "needs a space", "write `- {allow"),
    "glued dashes of words": (WEB + "    command:\n      §-sleep\n      -infinity\n", "needs a space", "write `- sleep`"),
    # routes are no policies
    "a route without its target": (ROUTE.replace("€", "§{via: 10.44.0.9}"), "`to` is missing in a route", "`to: 10.9.0.0/16`"),
    "a route without its hop": (ROUTE.replace("€", "§{to: 10.9.0.0/16}"), "`via` is missing in a route", "`via: 10.44.0.9`"),
    "routes as a text": (ROUTE.replace("[€]", "§10.9.0.0/16 via 10.44.0.9"), "must be a list", "`- {to: 10.9.0.0/16, via: 1"),
    "a key in a route": (
        ROUTE.replace("€", "{§source: web, to: 10.9.0.0/16, via: 10.44.0.9}"), "unknown key `source` in a route",
        "The keys here are to, via"
    ),
    # quotes and brackets
    "open quote": (PORTS + '    - §"8080:80\n    - 81\n', "the quote opened in line 10 is not closed", 'close it with "'),
    "open quote before another": (PORTS + '    - §"8080:80\n    - "81:81"\n', "opened in line 10", 'close it with "'),
    "open single quote": (PORTS + "    - §'8080:80\n    - '81:81'\n", "opened in line 10", "close it with '"),
    "open quote in brackets": (WEB + '    ports: [§"8080:80, "81:81"]\n', "opened in line 9", 'close it with "'),
    "open bracket": (WEB + "    ports: §[80, 81\npolicies: []\n", "the `[` in line 9 is not closed", "close the list with `]`"),
    "open brace": (HEAD + "hosts: §{a: {connect: local}\nsubnets: {}\n", "the `{` in line 3", "close the mapping with `}`"),
    "bracket too many": (HEAD + "hosts: {a: {connect: local}}§}\n", "the `}` closes nothing", "remove it"),
    "typographic quotes": (PORTS + "    - §\u201c8080:80\u201d\n", "is not one of YAML's quotes", "write \" or '"),
    "typographic single quotes": (container("{image: §\u2018nginx\u2019}"), "is not one of YAML's quotes", "write \" or '"),
    "backtick": (PORTS + "    - '§`8080:80`'\n", "", ""),
    # indentation
    "one space too few": (
        BASE + "containers:\n  web:\n    host: alpha\n   §networks: {front: auto}\n",
        "line 8 is indented by 3 spaces, and line 7 by 4",
        "indent it by 4 spaces if it is on the level of line 7, or by 2 as line 6",
    ),
    "one space too many": (
        BASE + "containers:\n  web:\n    host: alpha\n     §networks: {front: auto}\n",
        "line 8 is indented by 5 spaces, and line 7 by 4",
        "indent it by 4",
    ),
    "an item between": (PORTS + "      - 80\n     §- 81\n", "line 11 is indented by 5 spaces, and line 10 by 6", "by 6 spaces"),
    "no-break spaces": (
        BASE + "containers:\n  web:\n§\u00a0\u00a0\u00a0\u00a0host: alpha\n    networks: {front: auto}\n",
        "line 7 is indented with U+00A0",
        "plain spaces",
    ),
    "an ideographic space": (BASE + "containers:\n  a: {}\n§\u3000web: {}\n", "U+3000 only looks like a space", "replace it"),
    "a tab": (BASE + "containers:\n§\tweb: {}\n", "line 6 is indented with a tab", "plain spaces"),
    "a no-break space in a value": (container("{host: §alpha\u00a0}"), "U+00A0 only looks like a space", "replace it"),
    "a no-break space in a key": (container("{§host\u00a0: alpha}"), "U+00A0 only looks like a space", "replace it"),
    "not below its host": (
        HEAD + "hosts:\n  alpha:\n  §connect: local\n", "`connect` stands beside `alpha`",
        "indent it further"
    ),
    "not below hosts": (
        HEAD + "hosts:\n§alpha:\n  connect: local\nbeta:\n  connect: lab\n", "`alpha` stands beside `hosts`",
        "indent"
    ),
    # ports
    "a space in a port": (PORTS + "    - §8080: 80\n", "no space in it: `8080: 80`", 'write "8080:80"'),
    "a space behind an address": (PORTS + "    - §192.0.2.11:8080: 80\n", "no space in it", 'write "192.0.2.11:8080:80"'),
    "ports as a mapping": (WEB + "    §ports: {8080: 80}\n", "no space in it", 'write ["8080:80"]'),
    "half a port": (PORTS + "    - §80.5\n", "but is the number 80.5", '"8080:80"'),
    "a port in a policy": (policy("{allow: web, to: front, ports: [§80.5]}"), "the number 80.5", "a port is a whole number"),
    "no host port": (PORTS + "    - §'127.0.0.1::5000'\n", "has no host port", 'write "127.0.0.1:5000:5000"'),
    "an address and a port": (PORTS + "    - §'192.0.2.11:80'\n", "an address and one port", 'write "192.0.2.11:80:80"'),
    "no address": (PORTS + "    - §':443:443'\n", "no address before the first colon", 'write "443:443"'),
    "brackets without quotes": (PORTS + "    - §[2001:db8::11]:80:80\n", "in brackets needs quotes", '"[2001:db8::11]:80:80"'),
    "a dash of another kind": (PORTS + "    - §'8000\u20138010'\n", "U+2013", "write `-`"),
    # addresses
    "half an address": (container("{networks: {front: §10.44}}"), "the number 10.44", "has four parts"),
    "a number as a CIDR": (subnet("{cidr: §10.44}"), "the number 10.44", "10.44.0.0/24"),
    "three parts": (container("{networks: {front: §10.44.0}}"), "has fewer than four parts", "has four parts"),
    "two parts and a length": (subnet("{cidr: §10.44/16}"), "`10.44/16` has fewer than four parts", "write 10.44.0.0/16"),
    "leading zero": (container("{networks: {front: §10.44.0.010}}"), "has a leading zero", "write 10.44.0.10"),
    "leading zeros in a CIDR": (subnet("{cidr: §10.044.0.0/24}"), "has a leading zero", "write 10.44.0.0/24"),
    "colon first": (subnet("{cidr: [10.44.0.0/24, §::/64]}"), "that starts or ends with a colon needs quotes", '"::/64"'),
    "colon last": (HEAD + HOST + "subnets:\n  front:\n    cidr: §fd00:44::\n    mtu: 1400\n", "needs quotes", '"fd00:44::"'),
    "a name": (host("{connect: lab, address: §alpha.example.com}"), "but a name", "such as 10.44.0.10"),
    # addresses that are free
    "a host without an address": (
        HEAD + "hosts:\n  a: {connect: lab, address: 192.0.2.11}\n  §b: {connect: lab}\n"
        "  c: {connect: lab, address: 192.0.2.12}\n",
        "the lab host `b` has no address",
        "write `address: 192.0.2.13`",
    ),
    "a host on another segment": (
        HEAD + "hosts:\n  a: {connect: lab, address: 198.51.100.11}\n  §b: {connect: lab}\n", "has no address",
        "write `address: 198.51.100.12`"
    ),
    "an address of two hosts": (
        HEAD + "hosts:\n  a: {connect: lab, address: 192.0.2.11}\n  b: {connect: lab, address: §192.0.2.11}\n",
        "192.0.2.11 is the address of `a` already",
        "such as 192.0.2.12",
    ),
    "the router's address": (
        HEAD + "hosts:\n  a: {connect: lab, address: 192.0.2.11}\n  b: {connect: lab, address: §192.0.2.1}\n",
        "is the lab's router",
        "such as 192.0.2.12",
    ),
    "a range of the lab": (
        HEAD + HOST + "subnets:\n  a: {cidr: 10.44.0.0/24}\n  b: {cidr: §203.0.113.0/24}\n", "the lab's world outside",
        "such as 10.45.0.0/24"
    ),
    # variables
    "a variable": ("version: 1\nname: §${NAME}\n" + HOST, "no variables are filled in: `${NAME}`", "the value itself"),
    "a variable in an image": (container('{image: §"nginx:${TAG:-1}"}'), "no variables are filled in", "the value itself"),
    "a variable in braces": (container("{image: nginx:§${TAG}}"), "no variables are filled in", "the value itself"),
    "a template": ("version: 1\nname: {§{ name }}\n" + HOST, "no variables are filled in", "the value itself"),
    # words of YAML 1.1, and numbers in quotes
    "version in quotes": ('version: §"1"\nname: shop\n' + HOST, "but is the text `1`", "without quotes"),
    "version of Compose": ("version: §3.8\nname: shop\n" + HOST, "but is the number 3.8", "write `version: 1`"),
    "existing: yes": (container("{existing: §yes}"), "but is the text `yes`", "write true"),
    "existing: off": (container("{existing: §off}"), "but is the text `off`", "write false"),
    "a rate without a unit": (container("{networks: {front: {rate: §40}}}"), "needs a unit", "write 40mbit"),
    "a rate in bytes": (container("{networks: {front: {rate: §5MB/s}}}"), "is not a rate", "write 40mbit"),
    "one direction without a unit": (container("{networks: {front: {rate: {egress: §40}}}}"), "needs a unit", "write 40mbit"),
    # items of lists
    "an item of env": (container("{command: [a], env: [A=b, §C]}"), "an item without `=`: `C`", "write C=value"),
    "an item of cidr": (subnet("{cidr: [10.44.0.0/24, §'fd00::1/64']}"), "has host bits set", "write fd00::/64"),
    "a second item of an address": (container("{networks: {front: [10.44.0.10, §10.44.0.11]}}"), "two IPv4", "keep one"),
    "a host's second address": (host("{connect: lab, address: [192.0.2.11, §'2001:db8::1']}"), "the lab's router", "such as"),
    "a second address outside": (
        HEAD + HOST + 'subnets: {front: {cidr: [10.44.0.0/24, "fd00::/64"]}}\n'
        "containers: {web: {networks: {front: [10.44.0.10, §'fd01::1']}}}\n",
        "is outside of fd00::/64",
        "take one from",
    ),
    "a second prefix that overlaps": (
        HEAD + HOST + "subnets:\n  a: {cidr: 'fd00::/48'}\n  b: {cidr: [10.1.0.0/24, §'fd00:0:0:1::/64']}\n",
        "overlaps fd00::/48",
        "a range of its own",
    ),
    "an item of a port's from": (
        container("{networks: {front: auto}, ports: [{listen: 80, from: [10.0.0.0/8, §'fd00::/8']}]}"),
        "nothing can come from fd00::/8",
        "remove it",
    ),
    # twice
    "a variable twice": (container("{command: [a], env: [A=1, B=2, §A=3]}"), "`A` is given twice; it stands in line 6", "remove"),
    "a mount twice": (
        container("{image: a, volumes: ['/a:/x', §'/b:/x/']}"), "path /x is given twice; it stands in line 6",
        "remove"
    ),
    "a host twice": (subnet("{cidr: 10.44.0.0/24, hosts: [alpha, §alpha]}"), "the host `alpha` is given twice", "remove"),
    "a route twice": (
        container("{networks: {front: {routes: [{to: 10.9.0.0/16, via: 10.44.0.8}, §{to: 10.9.0.0/16, via: 10.44.0.9}]}}}"),
        "the route to 10.9.0.0/16 is given twice",
        "keep one",
    ),
    "a policy's port twice": (
        policy("{allow: web, to: front, ports: [80, §80/tcp]}"), "the port 80/tcp is given twice",
        "remove"
    ),
    # other tools
    "an empty file": ("§", "the file is empty", "`netctl init` writes a file to start from"),
    "a file of Compose": ('version: "3.8"\n§services:\n  web: {image: nginx}\n', "this is a file of Compose", "`containers:`"),
    "a file of Kubernetes": ("§apiVersion: v1\nkind: Pod\n", "this is a file of Kubernetes", "netctl init"),
    "a file of netplan": ("§network:\n  version: 2\n  ethernets: {}\n", "this is a file of netplan", "netctl init"),
    "a file of containerlab": ("name: a\n§topology:\n  nodes: {}\n", "this is a file of containerlab", "netctl init"),
    "internal": (subnet("{cidr: 10.44.0.0/24, §internal: true}"), "unknown key `internal`", "`mode: isolated`"),
    "mode: bridge": (subnet("{cidr: 10.44.0.0/24, mode: §bridge}"), "must be one of nat", "`mode: nat`"),
    "depends_on": (container("{§depends_on: [db]}"), "unknown key `depends_on`", "in no order"),
    "a key of another section": (container("{§cidr: 10.44.0.0/24}"), "unknown key `cidr`", "is a key of a subnet"),
    "everybody": (policy("{allow: web, to: §internet}"), "there is no container or subnet", "write `outside`"),
    "an address in a policy": (policy("{allow: §10.44.0.10, to: web}"), "there is no container", "a policy has no addresses"),
    "a host in a policy": (policy("{allow: §alpha, to: web}"), "there is no container or subnet", "write `host`"),
}  # fmt: skip
del SLIPS["backtick"]


def faults_of(text: str) -> list[Fault]:
    try:
        parse_topology(text.encode())
    except TopologyError as error:
        return list(error.faults)
    return []


@pytest.mark.parametrize(("text", "fragment", "hint"), SLIPS.values(), ids=SLIPS.keys())
def test_slip(text: str, fragment: str, hint: str) -> None:
    """One fault and no other that follows from it, at its place, in words that name the mistake and the remedy."""
    text, position = place(text)
    faults = faults_of(text)
    (fault,) = faults
    assert fault.position == position, fault
    assert fragment in fault.message
    assert hint in fault.help_text


DASHES = [*"\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022", "* ", "+ "]
ITEMS = {
    "alone": ("ports:\n      §€ 80:80\n", "80:80"),
    "in quotes": ('ports:\n      §€ "80:80"\n', '"80:80"'),
    "before another": ("ports:\n      §€ 80:80\n      - 81:81\n", "80:80"),
    "behind another": ("ports:\n      - 81:81\n      §€ 80:80\n", "80:80"),
    "all": ("ports:\n      §€ 80:80\n      € 81:81\n", "80:80"),
    "a mapping": ("ports:\n      §€ listen: 80\n        to: 81\n", "listen: 80"),
    "a word": ("command:\n      §€ sleep\n", "sleep"),
}


@pytest.mark.parametrize("dash", DASHES)
@pytest.mark.parametrize(("text", "item"), ITEMS.values(), ids=ITEMS.keys())
def test_another_sign_for_a_dash(text: str, item: str, dash: str) -> None:
    """A dash that a word processor made, or a bullet, is named with its number, and the item written as YAML wants it."""
    text, position = place(WEB + "    " + text.replace("€", dash.strip()))
    (fault,) = faults_of(text)
    assert fault.position == position, fault
    assert f"starts with `-`, not with `{dash.strip()}` (U+{ord(dash[0]):04X})" in fault.message
    assert fault.help_text == f"write `- {item}`"


def test_what_programs_read_is_theirs() -> None:
    """In `env` and `command`, quotes, dollars and spaces of any kind are the program's."""
    values = "[echo, \u201chi\u201d, '${A}', \u00a0]"
    assert not faults_of(container(f"{{networks: {{front: auto}}, command: {values}, env: {{A: '$B', C: \u201cx\u201d}}}}"))


WHOLE = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24, gateway: 10.44.0.9, mode: nat, hosts: [alpha], overlay: vxlan, mtu: 1400}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web:
    host: alpha
    command: [sleep, infinity]
    env: {A: b}
    networks: {front: {address: 10.44.0.10, default: true}, back: auto}
    ports: [{listen: 80, to: 81, network: front, on: [alpha]}]
  db: {host: beta, image: x, restart: always, volumes: ["/a:/b"], networks: {back: auto}, connections: 50}
  w: {host: beta, replicas: 2, networks: {front: {routes: [{to: 10.9.0.0/16, via: 10.44.0.10}]}}}
policies:
  - {allow: web, to: db, ports: [80]}
"""
PLACES = [
    found
    for found in re.finditer(r"(?<![\w/])([a-z_]+): ?(?=[\[{\"\w\n])", WHOLE)
    if found[1] not in ("alpha", "beta", "front", "back", "web", "db", "w", "A")
]


@pytest.mark.parametrize("found", PLACES, ids=lambda found: f"{found[1]}-{found.start()}")
def test_a_misspelt_key_is_one_fault(found: re.Match[str]) -> None:
    """Whatever key is misspelt: that is reported, and not what is missing because of it."""
    assert not faults_of(WHOLE)
    key = found[1]
    misspelt = [key + "s", key.capitalize(), key[:-1], key[0] + key[2:3] + key[1] + key[3:]]
    for word in {*(misspelt if len(key) > 2 else misspelt[:2])} - {key}:
        text = WHOLE[: found.start(1)] + word + WHOLE[found.end(1) :]
        assert [fault.message.partition(" in ")[0] for fault in faults_of(text)] == [f"unknown key `{word}`"]


SECTIONS = {
    "": "containers: {web: {networks: {front: auto}}}\n",
    "hosts": HEAD + "hosts: {alpha: {§}}\n",
    "subnets": HEAD + HOST + "subnets: {front: {§}}\n",
    "containers": BASE + "containers: {web: {§}}\n",
    "networks": BASE + "containers: {web: {networks: {front: {§}}}}\n",
    "routes": BASE + "containers: {web: {networks: {front: {routes: [{§}]}}}}\n",
    "ports": BASE + "containers: {web: {networks: {front: auto}, ports: [{§}]}}\n",
    "policies": BASE + "containers: {web: {networks: {front: auto}}}\npolicies: [{§}]\n",
}
REST = {
    "hosts": {"connect": "local"},
    "subnets": {"cidr": "10.44.0.0/24"},
    "routes": {"to": "10.9.0.0/16", "via": "10.44.0.9"},
    "ports": {"listen": "80"},
    "policies": {"allow": "front", "to": "web"},
}
WORDS = [(section, word) for section, words in KEYS.items() if section for word in words]


@pytest.mark.parametrize(("section", "word"), WORDS, ids=lambda word: word)
def test_a_word_of_another_tool_is_one_fault(section: str, word: str) -> None:
    """It is reported with the word that is meant here, and that this one is missing is no fault of its own."""
    meant = KEYS[section][word].meant
    rest = [f"{key}: {value}" for key, value in REST.get(section, {}).items() if key != meant]
    (fault,) = faults_of(SECTIONS[section].replace("§", ", ".join([f"{word}: x", *rest])))
    assert f"unknown key `{word}`" in fault.message
    assert fault.help_text == KEYS[section][word].help_text
    assert not meant or meant in fault.help_text or "remove" in fault.help_text or "build" in fault.help_text


def test_a_key_that_opens_a_block_lacks_its_colon() -> None:
    """The line of the key is named, not the indentation of what stands below it."""
    head = "version: 1\nname: m\nhosts: {h: {connect: lab}}\nsubnets: {a: {cidr: 10.44.0.0/24}}\n"
    text = head + "containers\n  web: {networks: {a: auto}}\n"
    with pytest.raises(TopologyError) as caught:
        parse_topology(text.encode())
    (fault,) = caught.value.faults
    assert (fault.position.line, fault.help_text) == (5, "write containers:")
