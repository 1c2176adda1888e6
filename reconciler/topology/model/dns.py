"""Names of containers (DNS): the key `dns` of the file, of a subnet and of a container."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from reconciler.state.grammar import DOMAIN
from reconciler.topology.fields import Label
from reconciler.topology.model.base import ListForm, Model
from reconciler.topology.scalars import describe, expect_text, parse_item, refuse, shorten
from reconciler.topology.types import UPSTREAM_HOST, Upstream

DOMAIN_MAX = 189
"""A name has at most 253 characters (RFC 1035), and a container's name with its dot takes 64 of them."""
TTL_MAX = 86400


def parse_domain(value: Any) -> str:
    """A domain in lower case. `.local` belongs to multicast DNS (RFC 6762)."""
    domain = expect_text(value, "a domain", "write one such as shop.internal")
    if not re.fullmatch(DOMAIN, domain) or len(domain) > DOMAIN_MAX:
        raise refuse(f"is not a domain: `{shorten(domain)}`", "write one such as shop.internal, in lower case")
    if domain == "local" or domain.endswith(".local"):
        raise refuse(f"must not be under .local: `{domain}`", "write one under .internal; .local belongs to multicast DNS")
    if re.fullmatch(r"(.*\.)?(in-addr|ip6)\.arpa", domain):
        raise refuse(f"must not be a domain of addresses: `{domain}`", "write one such as shop.internal")
    return domain


def parse_upstream(value: Any) -> Upstream:
    """`host`, `none`, or addresses of servers."""
    if value == UPSTREAM_HOST:
        return (UPSTREAM_HOST,)
    if value == "none":
        return ()
    items = value if isinstance(value, tuple) else (value,)
    if not items:
        raise refuse("is an empty list", "write `upstream: none`")
    return tuple(dict.fromkeys(parse_item(_parse_server, item, number) for number, item in enumerate(items)))


def _parse_server(item: Any) -> str:
    text = expect_text(item, "host, none, or an address", "write one such as 192.0.2.53")
    try:
        address = ip_address(text)
    except ValueError:
        raise refuse(f"is no address: `{shorten(text)}`", "write host, none, or an address such as 192.0.2.53") from None
    if "%" in text or address.is_unspecified or address.is_multicast:
        raise refuse(f"is no address of a server: `{shorten(text)}`", "write one such as 192.0.2.53")
    return str(address)


Domain = Annotated[str, PlainValidator(parse_domain), WithJsonSchema({"type": "string", "pattern": f"^{DOMAIN}$"})]
_SERVER = {"type": "string", "pattern": "^[0-9a-fA-F.:]+$"}
UpstreamField = Annotated[
    Upstream,
    PlainValidator(parse_upstream),
    WithJsonSchema({"anyOf": [{"enum": [UPSTREAM_HOST, "none"]}, _SERVER, {"type": "array", "items": _SERVER, "minItems": 1}]}),
]


class DnsModel(Model):
    """The names of the topology: their domain, and who answers for other names."""

    domain: Domain = Field("", description="The domain of all names. Default: the topology's name and .internal.")
    upstream: UpstreamField = Field(
        (UPSTREAM_HOST,), description="Who answers for other names: host (as /etc/resolv.conf there says), none, or addresses."
    )
    ttl: int = Field(5, ge=0, le=TTL_MAX, description="How many seconds a client may remember an answer.")


class SubnetDnsModel(Model):
    """What the resolver of one subnet does differently."""

    upstream: UpstreamField = Field(
        (UPSTREAM_HOST,), description="Who answers for other names: host, none, or addresses. An isolated subnet has none."
    )


class ContainerDnsModel(Model):
    """The names of one container."""

    named: bool = Field(True, description="Whether it has names, and netctl writes its resolv.conf.")
    aliases: Annotated[tuple[Label, ...], ListForm] = Field((), description="More names; of replicas, for all of them.")


def _spell_out_dns(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return _expect_mapping(value, "true, false or a mapping", "write `dns: true`")


def _spell_out_container(value: Any) -> Any:
    if isinstance(value, bool):
        return {"named": value}
    if isinstance(value, tuple | str):
        help_text = "write `dns: {upstream: [192.0.2.53]}` at the top, or in the subnet"
        raise refuse(f"must be true, false or a mapping, but is {describe(value)}", help_text)
    return _expect_mapping(value, "true, false or a mapping", "write `dns: {aliases: [www]}`, or remove it")


def _expect_mapping(value: Any, what: str, help_text: str) -> Any:
    if not isinstance(value, dict | Model):
        raise refuse(f"must be {what}, but is {describe(value)}", help_text)
    return value


DnsField = Annotated[DnsModel | None, BeforeValidator(_spell_out_dns, json_schema_input_type=bool | DnsModel)]
ContainerDnsField = Annotated[
    ContainerDnsModel, BeforeValidator(_spell_out_container, json_schema_input_type=bool | ContainerDnsModel)
]
