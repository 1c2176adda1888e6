"""The whole file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from reconciler.topology.fields import Label, TopologyName
from reconciler.topology.model.base import ListForm, Model
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.dns import DnsField
from reconciler.topology.model.hosts import HostModel
from reconciler.topology.model.policies import PolicyModel
from reconciler.topology.model.subnets import SubnetModel
from reconciler.topology.scalars import describe, refuse


def parse_version(value: Any) -> int:
    """The format's version: the number 1."""
    if value != 1 or not isinstance(value, int) or isinstance(value, bool):
        why = "a number without quotes" if value == "1" else "the version of netctl's own format"
        raise refuse(f"must be 1, but is {describe(value)}", f"write `version: 1`, {why}")
    return 1


Version = Annotated[int, PlainValidator(parse_version), WithJsonSchema({"const": 1})]


class TopologyModel(Model):
    """One topology: hosts, subnets, containers and policies."""

    version: Version = Field(description="The version of this format.")
    name: TopologyName = Field(description="The topology's name: the owner mark of everything that netctl makes for it.")
    hosts: dict[Label, HostModel] = Field(description="The hosts, by name; at least one.", json_schema_extra={"minProperties": 1})
    subnets: dict[Label, SubnetModel] = Field({}, description="The subnets, by name.")
    containers: dict[Label, ContainerModel] = Field({}, description="The containers, by name.")
    policies: Annotated[tuple[PolicyModel, ...], ListForm] = Field((), description="What may pass between subnets.")
    dns: DnsField = Field(None, description="Whether containers find each other by name: true, or the long form.")
    repair: Literal["network", "all"] = Field(
        "network",
        description="What `netctl agent` repairs: the network of containers, or also containers of an engine that were stopped "
        "or removed.",
    )
