"""Published ports of a container."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from reconciler.state.foreign import TransportProtocol
from reconciler.topology.fields import PUBLICATION_SCHEMA, LeadTo, ListenOn, Reference, Sources
from reconciler.topology.model.base import Given, ListForm, Model
from reconciler.topology.ports import split_protocol
from reconciler.topology.scalars import describe, expect_text, refuse, shorten

_ADDRESS = r"([0-9]+(?:\.[0-9]+){3}|\[[0-9a-fA-F:.]+\])"
_PORTS = "([0-9]{1,5}(?:-[0-9]{1,5})?)"
_SUFFIX = "((?:/(?:tcp|udp|sctp))?)"
_SLIPS = tuple(
    (form.replace("ADDRESS", _ADDRESS).replace("PORTS", _PORTS) + _SUFFIX, message, fixed)
    for form, message, fixed in (
        ("ADDRESS::PORTS", "has no host port between the colons", r"\1:\2:\2\3"),
        ("ADDRESS:PORTS", "has an address and one port, and needs the host's port and the container's", r"\1:\2:\2\3"),
        ("ADDRESS:PORTS:", "has no port of the container", r"\1:\2:\2\3"),
        (":PORTS:PORTS", "has no address before the first colon", r"\1:\2\3"),
        (":+PORTS", "has no host port before the colon", r"\1:\1\2"),
        ("PORTS:", "has no port of the container behind the colon", r"\1:\1\2"),
        (r"\*:PORTS:PORTS", "has `*` in place of an address: without one, all are meant", r"\1:\2\3"),
        (r"\*:PORTS", "has `*` in place of a port", r"\1:\1\2"),
        ("localhost:PORTS:PORTS", "has a name in place of an address", r"127.0.0.1:\1:\2\3"),
        ("PORTS *(?:->|=>|=|→| |: +| +:) *PORTS", "has no plain colon between the host's port and the container's", r"\1:\2\3"),
        ("PORTS/(tcp|udp|sctp):PORTS", "has the protocol before the container's port", r"\1:\3/\2"),
        ("PORTS:PORTS:(tcp|udp|sctp)", "has its protocol behind a colon, and not behind a slash", r"\1:\2/\3"),
        ("PORTS:PORTS:[0-9-]+", "has three ports, and needs the host's and the container's", r"\1:\2\3"),
        (r"([0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*):PORTS:PORTS", "must have its IPv6 address in brackets", r"[\1]:\2:\3\4"),
        ("PORTS/PORTS", "has no protocol behind the slash", r"\1:\2\3"),
    )
)
"""Nearly valid published ports: their pattern, the fault, and the intended form."""


def _sides(text: str) -> dict[str, str]:
    ports, protocol = split_protocol(text)
    listen, separator, to = ports.rpartition(":")
    sides = {"listen": listen, "to": to} if separator else {"listen": to}
    return {**sides, "protocol": protocol} if protocol else sides


class PublicationModel(Model):
    """A published port, or a range of them."""

    listen: ListenOn = Field(description="[host address:]port[-end]")
    to: Annotated[LeadTo | None, Given] = Field(
        None, description="The container's port[-end][/protocol]. Default: the same as on the host."
    )
    protocol: Annotated[TransportProtocol | None, Given] = Field(None, description="Default: tcp.")
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
        if isinstance(value, float):
            raise refuse(
                f"must be a port, or two such as 8080:80, but is {describe(value)}",
                'a port is a whole number: write one such as "8080:80"',
            )
        text = expect_text(value, "a port, or two such as 8080:80", 'write one such as "8080:80"')
        for form, message, fixed in _SLIPS:
            if found := re.fullmatch(form, text):
                raise refuse(f"{message}: `{shorten(text)}`", f'write "{found.expand(fixed)}"')
        return _sides(text)

    @model_validator(mode="after")
    def check(self) -> Self:
        """Both sides have equal lengths, one protocol is given, and each host occurs once."""
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
        """The short forms in addition to the long one."""
        return {"anyOf": [PUBLICATION_SCHEMA, handler.resolve_ref_schema(handler(core_schema))]}
