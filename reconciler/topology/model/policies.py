"""A policy: the traffic that may pass between subnets."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, model_validator

from reconciler.state.grammar import LABEL
from reconciler.topology.fields import PolicyPorts
from reconciler.topology.model.base import ListForm, Model, Text
from reconciler.topology.scalars import expect_text, refuse


def parse_party(value: Any) -> str:
    """One end of a policy; whether it exists is for `checks`."""
    what = "a container, a subnet, `host` or `outside`"
    if isinstance(value, tuple):
        raise refuse(f"must be {what}, but is a list", "write one policy for each")
    return expect_text(value, what, f"write the name of {what}", LABEL)


PartyName = Annotated[str, PlainValidator(parse_party), Text]


class PolicyModel(Model):
    """The traffic that may pass between subnets, which block all other traffic. Replies always pass."""

    allow: PartyName = Field(description="Who may connect: a container (with all its replicas), a subnet, `host` or `outside`.")
    to: PartyName = Field(description="To whom: the same.")
    ports: Annotated[tuple[PolicyPorts, ...] | None, ListForm] = Field(
        None, description="port[-end][/tcp|udp|sctp]; tcp if not given. Default: all ports."
    )

    @model_validator(mode="after")
    def check(self) -> Self:
        """Reject an empty list of ports, which would read as `none` and mean `all`."""
        if self.ports is not None and not self.ports:
            raise refuse("has an empty list of `ports`", "name the ports, or remove `ports` to allow all")
        return self
