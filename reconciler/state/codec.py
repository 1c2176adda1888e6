"""The JSON form of our frozen dataclasses: how records, changes, steps and facts travel between processes and into files.

Called by `hosts` and `worker` on every message, and by `plan.document` for `--json` and saved plans. An encoder and a decoder
are put together once per type, from its annotations, so that ten thousand records cost some tens of milliseconds each way.

    dataclass            an object; fields that hold their default are left out
    Record               the same, with "kind" in front
    Step                 the same, with "step" in front: "link-add" of LinkAdd
    HostState            a list of records
    Ref                  {"kind", "netns", "name"}
    tuple, frozenset     a list (a frozenset in order)
    Mapping              an object; keys are text, or numbers written as text
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.steps import addresses, containers, firewall, links, namespaces, openvswitch
from reconciler.state.steps.step import Step

T = TypeVar("T")
Json = Any
"""What json.dumps takes: None, bool, int, float, str, list, dict."""
Convert = Callable[[Any], Any]

SCALARS = (str, int, bool, float, type(None))
STEP_MODULES = (namespaces, links, addresses, firewall, containers, openvswitch)


def step_name(step: type[Step]) -> str:
    """`link-add` of LinkAdd."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", step.__name__).lower()


def step_types() -> dict[str, type[Step]]:
    """Every step there is, by its name, in the order of `STEP_MODULES`."""
    found = (value for module in STEP_MODULES for value in vars(module).values() if isinstance(value, type))
    return {step_name(value): value for value in found if issubclass(value, Step) and value is not Step}


class Codec:
    """Encodes and decodes; knows the record classes that it may meet.

    A malformed message raises ValueError, TypeError, KeyError or AttributeError: both ends are the same version of the same
    package, so that is a defect and not the user's doing.
    """

    def __init__(self, kinds: Iterable[type[Record]]) -> None:
        """`kinds` are the record classes, normally `kinds.KINDS`."""
        self.kinds: Mapping[str, type[Record]] = {kind.kind: kind for kind in kinds}
        self.steps: Mapping[str, type[Step]] = step_types()
        self._encoders: dict[Any, Convert | None] = {}
        self._decoders: dict[Any, Convert | None] = {}

    def encode(self, value: object) -> Json:
        """The JSON form of a dataclass of ours, or of a tuple, mapping or scalar of such."""
        if isinstance(value, tuple) and not isinstance(value, Ref):
            return [self.encode(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): self.encode(item) for key, item in value.items()}
        if isinstance(value, SCALARS):
            return value
        encoder = self._encoder(type(value))
        return encoder(value) if encoder else value

    def decode(self, cls: type[T], data: Json) -> T:
        """The value whose JSON form is `data`. `cls` may be Record or Step, for whichever it is, and also `tuple[X, ...]`."""
        decoder = self._decoder(cls)
        return typing.cast("T", decoder(data) if decoder else data)

    # --- encoders: None stands for "as it is" -----------------------------------------------------------------------

    def _encoder(self, kind: Any) -> Convert | None:
        if kind not in self._encoders:
            self._encoders[kind] = self._make_encoder(kind)
        return self._encoders[kind]

    def _make_encoder(self, kind: Any) -> Convert | None:
        if kind is Record or kind is Step:
            return self.encode
        if kind is Ref:
            return lambda ref: {"kind": ref[0], "netns": ref[1], "name": ref[2]}
        if kind is HostState:
            return lambda state: [self.encode(record) for record in state.records.values()]
        if dataclasses.is_dataclass(kind):
            return self._dataclass_encoder(typing.cast("type", kind))
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is tuple and arguments[-1] is Ellipsis:
            item = self._encoder(arguments[0])
            return (lambda values: [item(value) for value in values]) if item else list
        if origin is tuple:
            items = [self._encoder(argument) for argument in arguments]
            return lambda values: [i(v) if i else v for i, v in zip(items, values, strict=True)]
        if origin is frozenset:
            return sorted
        if origin is not None and issubclass_safe(origin, Mapping):
            return self._mapping_encoder(arguments)
        return self._optional(kind, self._encoder)

    def _mapping_encoder(self, arguments: tuple[Any, ...]) -> Convert:
        item = self._encoder(arguments[1])
        return lambda mapping: {str(key): item(value) if item else value for key, value in mapping.items()}

    def _dataclass_encoder(self, cls: type) -> Convert:
        tag = tag_of(cls)
        plan = [(name, default, self._encoder(kind)) for name, default, kind in fields_of(cls)]

        def encode(value: Any) -> Json:
            data = dict(tag)
            for name, default, convert in plan:
                held = getattr(value, name)
                if held is default or held == default:
                    continue
                data[name] = convert(held) if convert else held
            return data

        return encode

    # --- decoders ---------------------------------------------------------------------------------------------------

    def _decoder(self, kind: Any) -> Convert | None:
        if kind not in self._decoders:
            self._decoders[kind] = self._make_decoder(kind)
        return self._decoders[kind]

    def _make_decoder(self, kind: Any) -> Convert | None:
        if kind is Record:
            return self._tagged_decoder("kind", self.kinds)
        if kind is Step:
            return self._tagged_decoder("step", self.steps)
        if kind is Ref:
            return lambda data: Ref(data["kind"], data["netns"], data["name"])
        if kind is HostState:
            record = self._tagged_decoder("kind", self.kinds)
            return lambda data: HostState.of([record(item) for item in data])
        if dataclasses.is_dataclass(kind):
            return self._dataclass_decoder(typing.cast("type", kind))
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is tuple and arguments[-1] is Ellipsis:
            item = self._decoder(arguments[0])
            return (lambda values: tuple([item(value) for value in values])) if item else tuple
        if origin is tuple:
            items = [self._decoder(argument) for argument in arguments]
            return lambda values: tuple([i(v) if i else v for i, v in zip(items, values, strict=True)])
        if origin is frozenset:
            return frozenset
        if origin is not None and issubclass_safe(origin, Mapping):
            return self._mapping_decoder(arguments)
        return self._optional(kind, self._decoder)

    def _mapping_decoder(self, arguments: tuple[Any, ...]) -> Convert:
        key_of, item = arguments[0], self._decoder(arguments[1])
        return lambda data: {key_of(key): item(value) if item else value for key, value in data.items()}

    def _tagged_decoder(self, tag: str, classes: Mapping[str, type]) -> Convert:
        def decode(data: Json) -> Any:
            decoder = self._decoder(classes[data[tag]])
            return decoder(data) if decoder else data

        return decode

    def _dataclass_decoder(self, cls: type) -> Convert:
        tag = tag_of(cls)
        converts = {name: convert for name, _, kind in fields_of(cls) if (convert := self._decoder(kind))}

        def decode(data: Json) -> Any:
            arguments = dict(data)
            for name in tag:
                arguments.pop(name, None)
            for name, convert in converts.items():
                if name in arguments:
                    arguments[name] = convert(arguments[name])
            return cls(**arguments)

        return decode

    def _optional(self, kind: Any, find: Callable[[Any], Convert | None]) -> Convert | None:
        """For `X | None` and for scalars; TypeError for a type that has no JSON form here."""
        if kind in SCALARS or typing.get_origin(kind) is typing.Literal:
            return None
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            converts = [find(argument) for argument in typing.get_args(kind) if argument is not type(None)]
            if not any(converts):
                return None
            if len(converts) == 1:
                (convert,) = converts
                return lambda value: None if value is None else convert(value) if convert else value
        raise TypeError(f"{kind!r} has no JSON form")


def tag_of(cls: type) -> dict[str, str]:
    """What goes in front of the fields: the kind of a record, the name of a step, nothing for the rest."""
    if issubclass(cls, Record):
        return {"kind": cls.kind}
    if issubclass(cls, Step):
        return {"step": step_name(cls)}
    return {}


NO_DEFAULT = object()
"""Equal to no value of a field."""


def fields_of(cls: type) -> list[tuple[str, Any, Any]]:
    """(name, default or NO_DEFAULT, type) of each field. A field that repeats the tag (a `kind` of its own) is a defect."""
    hints = typing.get_type_hints(cls)
    found = []
    for each in dataclasses.fields(cls):
        if each.name in tag_of(cls):
            raise TypeError(f"{cls.__name__} has a field called {each.name}, which its JSON form needs")
        default = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
        found.append((each.name, NO_DEFAULT if default is dataclasses.MISSING else default, hints[each.name]))
    return found


def issubclass_safe(origin: Any, parent: type) -> bool:
    """`issubclass`, for what may not be a class."""
    return isinstance(origin, type) and issubclass(origin, parent)
