"""Published ports of a container."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from reconciler.topology.fields import EXPOSE_SCHEMA, LeadTo, ListenOn, Reference, Sources
from reconciler.topology.model.base import Given, ListForm, Model
from reconciler.topology.scalars import expect_text, refuse, split_protocol


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
        """Both sides are as long, one protocol is said, and each host once."""
        if len(set(self.on)) < len(self.on) or ("on" in self.model_fields_set and not self.on):
            raise refuse("names no host in `on`, or one twice", "write each host once, or leave `on` out")
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
