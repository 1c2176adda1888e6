"""The shape of a topology file, version 1: every key, its type, its default and what it means.

`load` validates the parsed YAML with it, `checks` looks across it, and `schema` makes the JSON Schema from it, which takes
its descriptions from here. Types are strict: a number is never taken for text. A short form is spelled out into its long
form before the long form is validated, so that there is one path for both.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from reconciler.topology.fields import (
    ADDRESSES_SCHEMA,
    AUTO_SCHEMA,
    EXPOSE_SCHEMA,
    Addresses,
    AutoAddresses,
    Cidrs,
    ConnectTo,
    Engine,
    InterfaceName,
    Label,
    LeadTo,
    ListenOn,
    LxcPath,
    Mac,
    PolicyPorts,
    Reference,
    Sources,
    TopologyName,
)
from reconciler.topology.scalars import (
    BRIDGE_PORTS_MAX,
    describe,
    expect_text,
    parse_addresses,
    parse_interface,
    refuse,
    shorten,
    split_protocol,
)
from reconciler.topology.types import Address

BRIDGES = ("linux", "openvswitch")

# --- values that only one key has -------------------------------------------------------------------------------------


def parse_version(value: Any) -> int:
    """The format's version: the number 1."""
    if value != 1 or not isinstance(value, int) or isinstance(value, bool):
        raise refuse(
            f"must be 1, but is {describe(value)}", "write `version: 1`; this netctl knows no other version of the format"
        )
    return 1


def parse_mtu(value: Any) -> int | None:
    """`auto` (None) or bytes; the IPv6 minimum is for `checks`, which knows the subnet."""
    if value == "auto":
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse(
            f"must be `auto` or a number of bytes, but is {describe(value)}", "write `mtu: auto`, or a number such as 1500"
        )
    if not 576 <= value <= 65535:
        raise refuse(f"must be 576 to 65535 bytes, but is {value}", "write `mtu: auto`, or a number such as 1500")
    return value


class ExistingBridge(NamedTuple):
    """A bridge that is on the host without netctl, and is used as it is."""

    name: str


def parse_bridge(value: Any) -> str | ExistingBridge:
    """`linux`, `openvswitch`, or {existing: NAME}."""
    if isinstance(value, dict):
        if tuple(value) != ("existing",):
            raise refuse("must be {existing: NAME} where it is a mapping", "write `bridge: {existing: br0}`")
        return ExistingBridge(parse_interface(value["existing"]))
    if value not in BRIDGES:
        help_text = "write linux, openvswitch, or {existing: NAME} for a bridge that the host has already"
        raise refuse(f"must be one of {', '.join(BRIDGES)}, or {{existing: NAME}}, but is {describe(value)}", help_text)
    return str(value)


def parse_gateway(value: Any) -> dict[str, tuple[Address, ...]]:
    """An address (of the first host: key ""), or a mapping of host to address."""
    if isinstance(value, dict):
        return {name: parse_addresses(addresses) for name, addresses in value.items()}
    return {"": parse_addresses(value)}


RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def parse_rate(value: Any) -> tuple[int, int]:
    """`10mbit` for both directions, or a mapping of `ingress` and `egress`: bytes a second, 0 for no limit."""
    if isinstance(value, dict):
        unknown = [key for key in value if key not in ("ingress", "egress")]
        if unknown or not value:
            raise refuse("must be {ingress: RATE, egress: RATE}", "write one of them, or both, such as {egress: 10mbit}")
        return tuple(_parse_bits(value[key]) if key in value else 0 for key in ("ingress", "egress"))  # type: ignore[return-value]
    return (_parse_bits(value),) * 2


def _parse_bits(value: Any) -> int:
    text = expect_text(value, "a rate such as 10mbit")
    matched = re.fullmatch(r"([0-9]{1,9})(bit|kbit|mbit|gbit)", text)
    if not matched or not 8000 <= int(matched[1]) * RATE_UNITS[matched[2]] <= 10**12:
        raise refuse(f"is no rate: `{shorten(text)}`", "write 8kbit to 1000gbit, such as 10mbit (bits a second)")
    return int(matched[1]) * RATE_UNITS[matched[2]] // 8


def parse_sysctls(value: Any) -> tuple[tuple[str, str], ...]:
    """A mapping of keys with IFNAME in them to numbers or text."""
    if not isinstance(value, dict):
        raise refuse(f"must be a mapping, but is {describe(value)}", "write {net.ipv4.conf.IFNAME.rp_filter: 2}")
    for key, setting in value.items():
        if not re.fullmatch(r"net\.ipv[46]\.(conf|neigh)\.IFNAME\.[a-z0-9_]{1,40}", key):
            help_text = "write a setting of the interface: net.ipv4.conf.IFNAME.rp_filter, or net.ipv6.neigh.IFNAME.…"
            raise refuse(f"has a key that is no setting of an interface: `{shorten(key)}`", help_text)
        is_plain = isinstance(setting, int | str) and not isinstance(setting, bool)
        if not is_plain or not re.fullmatch(r"[0-9a-zA-Z:. -]{1,80}", str(setting)):
            raise refuse(f"must give a number or text for `{shorten(key)}`, but gives {describe(setting)}", f"write {key}: 1")
    return tuple((key, str(setting)) for key, setting in value.items())


def parse_image(value: Any) -> str:
    """An image reference; the engine has the last word on it."""
    image = expect_text(value, "the name of an image")
    if not re.fullmatch(r"[A-Za-z0-9/][A-Za-z0-9._/:@-]{0,254}", image):
        raise refuse(f"is no image name: `{shorten(image)}`", "write one such as nginx:1.27")
    return image


def parse_command(value: Any) -> tuple[str, ...]:
    """A list of words; one text is split into words as a shell would, but no shell runs it."""
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError:
            raise refuse(
                "has a quote that is opened and never closed", "write the command as a list: [sleep, infinity]"
            ) from None
    if not isinstance(value, tuple):
        raise refuse(f"must be a list of words, but is {describe(value)}", "write it as a list: [sleep, infinity]")
    for word in value:
        if not isinstance(word, str):
            written = str(word).lower() if isinstance(word, bool) else str(word)
            raise refuse(
                f"must be a list of texts, but one item is {describe(word)}",
                f'put it in quotes: "{written}"'
                if isinstance(word, bool | int | float)
                else "write it as a list: [sleep, infinity]",
            )
    return value


def parse_env(value: Any) -> tuple[tuple[str, str], ...]:
    """A mapping of name to text, or a list of `NAME=value`."""
    if isinstance(value, tuple):
        pairs: dict[str, Any] = {}
        for item in value:
            name, separator, text = expect_text(item, "NAME=value").partition("=")
            if not separator:
                raise refuse(
                    f"has an item without `=`: `{shorten(item)}`",
                    f"write {shorten(item)}=value; nothing is taken from netctl's own environment",
                )
            pairs[name] = text
    elif isinstance(value, dict):
        pairs = value
    else:
        raise refuse(f"must be a mapping of name to text, but is {describe(value)}", "write `env: {NAME: value}`")
    for name, text in pairs.items():
        if not name or "=" in name:
            raise refuse(f"has a name that no variable can have: `{shorten(name)}`", "use letters, digits and `_`")
        if not isinstance(text, str):
            written = str(text).lower() if isinstance(text, bool) else str(text)
            raise refuse(
                f"must give text for `{shorten(name)}`, but gives {describe(text) if text is not None else 'nothing'}",
                f'put it in quotes: {name}: "{written}"' if isinstance(text, bool | int | float) else f'write {name}: "value"',
            )
    return tuple(pairs.items())


def parse_volume(value: Any) -> str:
    """`[host path or volume name:]container path[:options]`."""
    text = expect_text(value, "a volume such as /srv/data:/data:ro")
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or not parts[1].startswith("/"):
        raise refuse(
            f"is no volume: `{shorten(text)}`",
            "write host path:container path[:ro], both paths absolute, or volume name:container path",
        )
    if not parts[0].startswith("/") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", parts[0]):
        raise refuse(f"must have an absolute host path: `{shorten(text)}`", "write the path from / on, as in /srv/data:/data")
    return text


def parse_existing(value: Any) -> bool | str:
    """true: the engine's container of the same name; text: the one of that name."""
    if isinstance(value, bool):
        return value
    name = expect_text(value, "true, or the name of a container")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", name):
        raise refuse(f"is no container name: `{shorten(name)}`", "write the name as the engine lists it, or true")
    return name


def parse_party(value: Any) -> str:
    """One end of a policy; whether it exists is for `checks`."""
    return expect_text(value, "a container, a subnet, `host` or `outside`")


def _expect_list(value: Any) -> Any:
    """A single value is not taken for a list, but its owner is told how to make it one."""
    if isinstance(value, tuple):
        return value
    if value is None:
        raise refuse("has no value", "write a list, or remove the key")
    raise refuse(f"must be a list, but is {describe(value)}", "put it into a list: start the line with `- `, or write [ … ]")


def _refuse_null(value: Any) -> Any:
    """None stands for a key that is not there; a key that is there with nothing behind it is a mistake."""
    if value is None:
        raise refuse("has no value", "give it one, or remove the key")
    return value


_Text = WithJsonSchema({"type": "string", "minLength": 1})
Version = Annotated[int, PlainValidator(parse_version), WithJsonSchema({"const": 1})]
Mtu = Annotated[
    int | None,
    PlainValidator(parse_mtu),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 576, "maximum": 65535}]}),
]
Gateway = Annotated[
    dict[str, tuple[Address, ...]],
    PlainValidator(parse_gateway),
    WithJsonSchema({"anyOf": [*ADDRESSES_SCHEMA["anyOf"], {"type": "object", "additionalProperties": ADDRESSES_SCHEMA}]}),
]
Bridge = Annotated[
    str | ExistingBridge,
    PlainValidator(parse_bridge),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(BRIDGES)},
                {
                    "type": "object",
                    "properties": {"existing": {"type": "string", "minLength": 1, "maxLength": 15}},
                    "required": ["existing"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
_RATE: dict[str, Any] = {"type": "string", "pattern": "^[0-9]{1,9}(bit|kbit|mbit|gbit)$", "examples": ["10mbit"]}
Rate = Annotated[
    tuple[int, int],
    PlainValidator(parse_rate),
    WithJsonSchema(
        {
            "anyOf": [
                _RATE,
                {
                    "type": "object",
                    "properties": {"ingress": _RATE, "egress": _RATE},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }
    ),
]
Sysctls = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(parse_sysctls),
    WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {"^net\\.ipv[46]\\.(conf|neigh)\\.IFNAME\\.[a-z0-9_]+$": {"type": ["integer", "string"]}},
            "additionalProperties": False,
        }
    ),
]
Image = Annotated[str, PlainValidator(parse_image), _Text]
Command = Annotated[
    tuple[str, ...],
    PlainValidator(parse_command),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
Env = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(parse_env),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
            ]
        }
    ),
]
Volume = Annotated[str, PlainValidator(parse_volume), _Text]
Existing = Annotated[
    bool | str,
    PlainValidator(parse_existing),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "minLength": 1}]}),
]
PartyName = Annotated[str, PlainValidator(parse_party), _Text]
ListForm = BeforeValidator(_expect_list)
Given = BeforeValidator(_refuse_null)


# --- the file ---------------------------------------------------------------------------------------------------------


class Model(BaseModel):
    """What all parts share: nothing is converted, nothing unknown is let through, nothing changes later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class HostModel(Model):
    """A host: a machine with a network stack of its own."""

    connect: ConnectTo = Field(
        description="How netctl reaches it: `local` (this machine), `lab` (a namespace on this machine), or ssh://[user@]name[:port]."
    )
    address: Addresses = Field((), description="Where other hosts reach it (the underlay): one address, or [IPv4, IPv6].")
    uplink: InterfaceName = Field(
        "",
        description="Its interface to the underlay. Default: the one with `address`, else the default route's; eth0 in the lab.",
    )
    docker: Engine = Field("", description="Docker's socket. Default: DOCKER_HOST, else unix:///var/run/docker.sock.")
    podman: Engine = Field("", description="Podman's socket. Default: unix:///run/podman/podman.sock.")
    lxc: LxcPath = Field("", description="The directory of LXC's containers (lxc.lxcpath). Default: /var/lib/lxc.")
    openvswitch: Engine = Field(
        "", description="The socket of Open vSwitch's database. Default: unix:///var/run/openvswitch/db.sock; in the lab none."
    )


class SubnetModel(Model):
    """A subnet: one segment, with one prefix per family."""

    cidr: Cidrs = Field(description="The prefix, or [IPv4, IPv6] for dual stack.")
    mode: Literal["nat", "routed", "isolated", "direct", "macvlan"] = Field(
        "nat",
        description="How it meets the world: nat (masqueraded), routed, isolated (its host and nothing beyond), direct, macvlan.",
    )
    overlay: Literal["vxlan", "routes", "auto", "none"] = Field(
        "vxlan", description="How it spans hosts, where it does; auto: routes between hosts on one link, vxlan between others."
    )
    bridge: Bridge = Field(
        "linux", description="What the bridge is made of; or {existing: NAME}, one that the host has already (mode: direct)."
    )
    uplink: InterfaceName = Field(
        "", description="Of mode direct or macvlan: the interface to the LAN. Default: the host's `uplink`."
    )
    type: Literal["bridge", "vepa", "private", "passthru"] = Field(
        "bridge", description="Of mode macvlan: how its members reach each other (ip-link(8))."
    )
    hairpin: bool = Field(
        False, description="Whether the bridge sends a frame back on the port that it came from; per port in `networks`."
    )
    datapath: Literal["auto", "system", "netdev"] = Field(
        "auto", description="Of an Open vSwitch bridge: system (the kernel's), netdev (user space), auto (the kernel's if there)."
    )
    mtu: Mtu = Field(None, description="Bytes, or auto: the underlay's, less the overlay's overhead.")
    hosts: Annotated[tuple[Reference, ...], ListForm] = Field(
        (), description="Hosts that have a leg in it even without a container there."
    )
    gateway: Gateway = Field(
        {}, description="Fixes the hosts' own addresses in it: an address (of the first host), or a mapping of host to address."
    )
    vni: Annotated[int | None, Given] = Field(
        None, ge=1, le=16777215, description="The VXLAN's number. Default: computed from the names."
    )
    vxlan_port: int = Field(4789, ge=1, le=65535, description="The VXLAN's UDP port.")


class RouteModel(Model):
    """A static route of a container."""

    to: Sources = Field(description="The network that it leads to.")
    via: Addresses = Field(description="The next hop, an address in the subnet.")


class NetworkModel(Model):
    """A container's place in a subnet."""

    address: AutoAddresses = Field((), description="An address, [IPv4, IPv6], or auto.")
    mac: Mac = Field("", description="The hardware address. Default: computed from the names.")
    interface: InterfaceName = Field(
        "", description="The interface's name inside. Default: eth0, eth1 … in the order of the file."
    )
    ipv4: bool = Field(True, description="false: no IPv4 here, though the subnet has it.")
    ipv6: bool = Field(True, description="false: no IPv6 here, though the subnet has it.")
    default: Annotated[bool | None, Given] = Field(
        None, description="Whether the default route leads here. Default: the first network."
    )
    dhcp: bool = Field(False, description="The same as `address: dhcp`: ask the LAN's DHCP server, and its routers for IPv6.")
    allow: Annotated[tuple[Literal["dhcp-server", "router-advertisements"], ...], ListForm] = Field(
        (), description="What a container may send that no container may otherwise: as a DHCP server, or as an IPv6 router."
    )
    hairpin: Annotated[bool | None, Given] = Field(
        None, description="Whether its port sends a frame back to it. Default: where it publishes ports, or the subnet says so."
    )
    isolated: bool = Field(False, description="Whether it reaches no other isolated port of its bridge (bridge(8)).")
    rate: Rate = Field(
        (0, 0), description="How fast at most: 10mbit both ways, or {ingress: 100mbit, egress: 10mbit} as the container sees it."
    )
    mtu: Annotated[int | None, Given] = Field(None, ge=576, le=65535, description="Bytes, if fewer than the subnet's.")
    routes: Annotated[tuple[RouteModel, ...], ListForm] = Field((), description="Static routes over this network.")
    sysctls: Sysctls = Field(
        (), description="Kernel settings of the interface, IFNAME in its place: {net.ipv4.conf.IFNAME.rp_filter: 2}."
    )

    @property
    def families(self) -> tuple[int, ...]:
        """The families that the container is to have here, as far as the subnet has them."""
        return (4,) * self.ipv4 + (6,) * self.ipv6

    @model_validator(mode="before")
    @classmethod
    def spell_out(cls, value: Any) -> Any:
        """`auto`, `dhcp`, an address or a list of two is the long form with nothing but `address`."""
        if value is None:
            raise refuse("has no value", "write `auto`, an address, or {address: …}")
        long = value if isinstance(value, dict) else {"address": value}
        if long.get("address") == "dhcp":
            return {**{key: each for key, each in long.items() if key != "address"}, "dhcp": True}
        return long

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The short forms beside the long one."""
        return {"anyOf": [AUTO_SCHEMA, *ADDRESSES_SCHEMA["anyOf"], handler.resolve_ref_schema(handler(core_schema))]}


class ExposeModel(Model):
    """A published port, or a range of them."""

    listen: ListenOn = Field(description="[host address:]port[-end]")
    to: Annotated[LeadTo | None, Given] = Field(
        None, description="The container's port[-end][/protocol]. Default: the same as on the host."
    )
    protocol: Annotated[Literal["tcp", "udp", "sctp"] | None, Given] = Field(None, description="Default: tcp.")
    from_: Sources = Field((), alias="from", description="The networks that may connect. Default: every one.")
    on: Annotated[tuple[Reference, ...], ListForm] = Field(
        (), description="The hosts that it is published on. Default: the container's."
    )
    network: Reference = Field(
        "", description="Which of the container's networks it leads to. Default: the one with the default route."
    )

    @model_validator(mode="before")
    @classmethod
    def spell_out(cls, value: Any) -> Any:
        """`[[address:]port:]port[/protocol]`, or a number."""
        if isinstance(value, dict):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return {"listen": value}
        text = expect_text(value, "a published port such as 8080:80")
        ports, protocol = split_protocol(text)
        listen, separator, to = ports.rpartition(":")
        sides = {"listen": listen, "to": to} if separator else {"listen": to}
        return {**sides, "protocol": protocol} if protocol else sides

    @model_validator(mode="after")
    def check(self) -> Self:
        """Both sides are as long, and one protocol is said."""
        if self.to is not None:
            ours, theirs = self.listen.last - self.listen.first + 1, self.to.last - self.to.first + 1
            if ours != theirs:
                raise refuse(
                    f"publishes {ours} {'port' if ours == 1 else 'ports'} of the host to {theirs} of the container",
                    "make both ranges equally long",
                )
            if self.to.protocol and self.protocol and self.to.protocol != self.protocol:
                raise refuse(f"says two protocols: {self.protocol} and {self.to.protocol}", "keep one of them")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The short forms beside the long one."""
        return {"anyOf": [EXPOSE_SCHEMA, handler.resolve_ref_schema(handler(core_schema))]}


class ContainerModel(Model):
    """A container, or several alike (`replicas`)."""

    host: Reference = Field("", description="Where it runs. May be left out where the file has one host.")
    runtime: Annotated[Literal["docker", "podman", "lxc", "netns"] | None, Given] = Field(
        None, description="Default: docker where `image` or `existing` is given, else netns (a bare namespace)."
    )
    image: Image = Field(
        "", description="What the engine runs, such as nginx:1.27. LXC: the path of a root filesystem, or the name of a template."
    )
    command: Command = Field((), description="What runs in it: a list of words.")
    env: Env = Field((), description="Its environment: {NAME: value}, or a list of NAME=value.")
    volumes: Annotated[tuple[Volume, ...], ListForm] = Field((), description="host path or volume name:container path[:ro]")
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = Field("no", description="The engine's restart policy.")
    existing: Existing = Field(
        False, description="Wire a container that somebody else runs: true (named as the key), or its name."
    )
    replicas: Annotated[int | None, Given] = Field(
        None, ge=0, le=BRIDGE_PORTS_MAX, description="How many of it, named NAME-1, NAME-2 …"
    )
    networks: dict[Reference, NetworkModel] = Field(
        {}, description="The subnets it is in: an address, auto, or the long form. The first has the default route."
    )
    expose: Annotated[tuple[ExposeModel, ...], ListForm] = Field((), description="Its published ports.")
    dns: Annotated[Any, Given] = Field(None, description="Reserved for what comes.")


class PolicyModel(Model):
    """What may pass between subnets, between which nothing passes otherwise. Replies always pass."""

    allow: PartyName = Field(description="Who may connect: a container (with all its replicas), a subnet, `host` or `outside`.")
    to: PartyName = Field(description="To whom: the same.")
    ports: Annotated[tuple[PolicyPorts, ...] | None, ListForm] = Field(
        None, description="port[-end][/tcp|udp|sctp]; tcp where not said. Default: everything."
    )

    @model_validator(mode="after")
    def check(self) -> Self:
        """An empty list of ports would read as `none` and mean `all`."""
        if self.ports is not None and not self.ports:
            raise refuse("has an empty list of `ports`", "name the ports, or remove `ports` to allow all")
        return self


class TopologyModel(Model):
    """One topology: hosts, subnets, containers and policies."""

    version: Version = Field(description="The version of this format.")
    name: TopologyName = Field(description="The topology's name: the owner mark of everything that netctl makes for it.")
    hosts: dict[Label, HostModel] = Field(description="The hosts, by name; at least one.", json_schema_extra={"minProperties": 1})
    subnets: dict[Label, SubnetModel] = Field({}, description="The subnets, by name.")
    containers: dict[Label, ContainerModel] = Field({}, description="The containers, by name.")
    policies: Annotated[tuple[PolicyModel, ...], ListForm] = Field((), description="What may pass between subnets.")
