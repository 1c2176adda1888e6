"""The JSON form of netctl's frozen dataclasses: how records, changes, steps and facts travel between processes and into files.

Each type gets its encoder and decoder once, from its annotations. Ten thousand records then cost some tens of
milliseconds each way.

    dataclass            an object; fields that hold their default are left out, but for lists of documents (`listed`)
    Record               the same, with "kind" in front
    Step                 the same, with "step" in front: "link-add" of LinkAdd
    HostState            a list of records
    Ref                  {"kind", "netns", "name"}
    one of several       as its dataclass, with "type" in front: "foreign-route" of ForeignRoute
    an IP address        its text, or that of a network
    Subject              its text
    tuple, frozenset     a list (a frozenset in order)
    Mapping              an object; keys are text, or numbers written as text
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from reconciler.state.decoders import (
    IP_FORMS,
    KEYS,
    Convert,
    Decode,
    Json,
    UnfitError,
    choice_decoder,
    decode_ref,
    decode_subject,
    ip_decoder,
    scalar_decoder,
    unfit,
)
from reconciler.state.host import HostState
from reconciler.state.jsontext import MalformedError
from reconciler.state.listed import LISTED
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.steps import addresses, containers, firewall, links, names, namespaces, openvswitch, uplinks
from reconciler.state.steps.step import Step
from reconciler.state.subject import SUBJECTS_MAX, Subject

T = TypeVar("T")


class NEVER:
    """The class that no value has: every value is converted."""


SCALARS = (str, int, bool, float, type(None))
STEP_MODULES = (namespaces, links, uplinks, addresses, firewall, containers, openvswitch, names)


def class_name(cls: type) -> str:
    """`link-add` of LinkAdd."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


def step_types() -> dict[str, type[Step]]:
    """All classes of steps by name, in the order of `STEP_MODULES`."""
    found = (value for module in STEP_MODULES for value in vars(module).values() if isinstance(value, type))
    return {class_name(value): value for value in found if issubclass(value, Step) and value is not Step}


class Codec:
    """Encodes and decodes; knows the record classes that may appear.

    Data to decode may come from a host that lies. Each value must have exactly the type of its field, and each object
    exactly the fields of its class. The decoder rejects all else with MalformedError.
    """

    def __init__(self, kinds: Iterable[type[Record]]) -> None:
        """`kinds` are the record classes, normally `kinds.KINDS`."""
        self.kinds: Mapping[str, type[Record]] = {kind.kind: kind for kind in kinds}
        self.steps: Mapping[str, type[Step]] = step_types()
        self._encoders: dict[Any, Convert | None] = {}
        self._decoders: dict[Any, Decode] = {}

    def encode(self, value: object) -> Json:
        """The JSON form of a dataclass of the project, or of a tuple, mapping or scalar of such."""
        if isinstance(value, tuple) and not isinstance(value, (Ref, Subject)):
            return [self.encode(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): self.encode(item) for key, item in value.items()}
        if isinstance(value, SCALARS):
            return value
        encoder = self._encoder(type(value))
        return encoder(value) if encoder else value

    def decode(self, cls: type[T], data: Json) -> T:
        """The value whose JSON form is `data`; MalformedError if it is none.

        `cls` may also be `tuple[X, ...]`. If it is Record or Step, the tag selects the subclass.
        """
        taken, convert = self._decoder(cls)
        if type(data) is taken:
            return typing.cast("T", data)
        try:
            return typing.cast("T", convert(data))
        except MalformedError:
            raise
        except (ValueError, RecursionError) as error:  # two records of one name; a list in a list in a list
            raise MalformedError(str(error)) from None

    # --- encoders: None means unchanged -----------------------------------------------------------------------------

    def _encoder(self, kind: Any) -> Convert | None:
        if kind not in self._encoders:
            self._encoders[kind] = self._make_encoder(kind)
        return self._encoders[kind]

    def _make_encoder(self, kind: Any) -> Convert | None:
        if kind is Record or kind is Step:
            return self.encode
        if kind in IP_FORMS:
            return str
        if kind is Subject:
            return lru_cache(SUBJECTS_MAX)(str)
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
            if not any(items):
                return list
            return lambda values: [i(v) if i else v for i, v in zip(items, values, strict=True)]
        if origin is frozenset:
            return sorted
        if origin is not None and issubclass_safe(origin, Mapping):
            return self._mapping_encoder(arguments)
        return self._optional_encoder(kind)

    def _mapping_encoder(self, arguments: tuple[Any, ...]) -> Convert:
        item = self._encoder(arguments[1])
        return lambda mapping: {str(key): item(value) if item else value for key, value in mapping.items()}

    def _dataclass_encoder(self, cls: type) -> Convert:
        tag = tag_of(cls)
        present = listed_fields(cls)
        plan = [(name, NO_DEFAULT if name in present else default, self._encoder(kind)) for name, default, kind in fields_of(cls)]

        def encode(value: Any) -> Json:
            data = dict(tag)
            for name, default, convert in plan:
                held = getattr(value, name)
                if held is default or held == default:
                    continue
                data[name] = convert(held) if convert else held
            return data

        return encode

    def _optional_encoder(self, kind: Any) -> Convert | None:
        """The encoder of `X | None` and of scalars; TypeError for a type that has no JSON form here."""
        if kind in SCALARS or typing.get_origin(kind) is typing.Literal:
            return None
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            converts = [self._encoder(argument) for argument in typing.get_args(kind) if argument is not type(None)]
            if not any(converts):
                return None
            if len(converts) == 1:
                (convert,) = converts
                return lambda value: None if value is None else convert(value) if convert else value
            return self._union_encoder(typing.get_args(kind))
        raise TypeError(f"{kind!r} has no JSON form")

    def _union_encoder(self, classes: tuple[Any, ...]) -> Convert:
        """The encoder of a union of dataclasses."""
        encoders = {cls: ({"type": class_name(cls)}, self._dataclass_encoder(cls)) for cls in classes}

        def encode(value: Any) -> Json:
            tag, convert = encoders[type(value)]
            return {**tag, **convert(value)}

        return encode

    # --- decoders: (a class whose values pass unchanged, a function that converts or rejects others) ----------------------

    def _decoder(self, kind: Any) -> Decode:
        if kind not in self._decoders:
            self._decoders[kind] = self._make_decoder(kind)
        return self._decoders[kind]

    def _make_decoder(self, kind: Any) -> Decode:
        if kind in SCALARS:
            return scalar_decoder(kind)
        if kind in IP_FORMS:
            return NEVER, ip_decoder(*IP_FORMS[kind])
        if kind is Record:
            return NEVER, self._tagged_decoder("kind", self.kinds)
        if kind is Step:
            return NEVER, self._tagged_decoder("step", self.steps)
        if kind is Ref:
            return NEVER, decode_ref
        if kind is Subject:
            return NEVER, decode_subject
        if kind is HostState:
            records = self._list_decoder(self._decoder(Record))
            return NEVER, lambda data: HostState.of(records(data))
        if dataclasses.is_dataclass(kind):
            return NEVER, self._dataclass_decoder(typing.cast("type", kind))
        return self._make_compound_decoder(kind)

    def _make_compound_decoder(self, kind: Any) -> Decode:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Literal:
            return NEVER, choice_decoder(arguments)
        if origin is tuple and arguments[-1] is Ellipsis:
            return NEVER, self._list_decoder(self._decoder(arguments[0]))
        if origin is tuple:
            return NEVER, self._row_decoder([self._decoder(argument) for argument in arguments])
        if origin is frozenset:
            items = self._list_decoder(self._decoder(arguments[0]))
            return NEVER, lambda data: frozenset(items(data))
        if origin is not None and issubclass_safe(origin, Mapping):
            return NEVER, self._mapping_decoder(arguments)
        if origin in (types.UnionType, typing.Union):
            return self._optional_decoder(kind)
        raise TypeError(f"{kind!r} has no JSON form")

    def _optional_decoder(self, kind: Any) -> Decode:
        """The decoder of `X | None`, and of a union of dataclasses."""
        arguments = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        if len(arguments) != 1:
            return NEVER, self._union_decoder(arguments)
        taken, convert = self._decoder(arguments[0])
        return taken, lambda value: None if value is None else convert(value)

    def _union_decoder(self, classes: list[Any]) -> Convert:
        decoders = {class_name(cls): self._dataclass_decoder(cls) for cls in classes}

        def decode(data: Json) -> Any:
            name = data.get("type") if type(data) is dict else None
            if type(name) is not str or name not in decoders:
                raise MalformedError("an object whose `type` is not known")
            return decoders[name]({key: value for key, value in data.items() if key != "type"})

        return decode

    def _list_decoder(self, item: Decode) -> Callable[[Any], tuple[Any, ...]]:
        taken, convert = item

        def decode(data: Json) -> tuple[Any, ...]:
            if type(data) is not list:
                raise unfit(data, "a list")
            return tuple([value if type(value) is taken else convert(value) for value in data])

        return decode

    def _row_decoder(self, items: list[Decode]) -> Convert:
        plain = tuple(taken for taken, _ in items)

        def decode(data: Json) -> tuple[Any, ...]:
            if type(data) is list and tuple(map(type, data)) == plain:
                return tuple(data)
            if type(data) is not list or len(data) != len(items):
                raise unfit(data, f"a list of {len(items)}")
            return tuple(
                [value if type(value) is taken else convert(value) for (taken, convert), value in zip(items, data, strict=True)]
            )

        return decode

    def _mapping_decoder(self, arguments: tuple[Any, ...]) -> Convert:
        key_of, (taken, convert) = KEYS[arguments[0]], self._decoder(arguments[1])

        def decode(data: Json) -> dict[Any, Any]:
            if type(data) is not dict:
                raise unfit(data, "an object")
            return {key_of(key): value if type(value) is taken else convert(value) for key, value in data.items()}

        return decode

    def _tagged_decoder(self, tag: str, classes: Mapping[str, type]) -> Convert:
        decoders: dict[str, Convert] = {}

        def decode(data: Json) -> Any:
            name = data.get(tag) if type(data) is dict else None
            if type(name) is not str or name not in classes:
                raise MalformedError(f"an object whose `{tag}` is not known")
            if name not in decoders:
                decoders[name] = self._decoder(classes[name])[1]
            return decoders[name](data)

        return decode

    def _dataclass_decoder(self, cls: type) -> Convert:
        tag = tag_of(cls)
        known: dict[str, Decode] = {name: self._decoder(kind) for name, _, kind in fields_of(cls)}
        known |= {name: (NEVER, choice_decoder((value,))) for name, value in tag.items()}
        required = frozenset(name for name, default, _ in fields_of(cls) if default is NO_DEFAULT) | tag.keys()
        (tag_name,) = tag or ("",)

        def decode(data: Json) -> Any:
            if type(data) is not dict:
                raise unfit(data, f"an object for {cls.__name__}")
            arguments = {}
            name = ""
            try:
                for name, value in data.items():
                    taken, convert = known[name]
                    arguments[name] = value if type(value) is taken else convert(value)
                arguments.pop(tag_name, None)
                return cls(**arguments)
            except KeyError:
                raise MalformedError(f"{cls.__name__} with a field that it does not have") from None
            except UnfitError as error:
                raise MalformedError(f"{error} in {cls.__name__}.{name}") from None
            except TypeError:
                absent = ", ".join(sorted(required - data.keys()))
                raise MalformedError(f"{cls.__name__} without {absent}") from None

        return decode


def tag_of(cls: type) -> dict[str, str]:
    """The tag in front of the fields: the kind of a record, the name of a step, none for the rest."""
    if issubclass(cls, Record):
        return {"kind": cls.kind}
    if issubclass(cls, Step):
        return {"step": class_name(cls)}
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
    """`issubclass` that also accepts values that are no classes."""
    return isinstance(origin, type) and issubclass(origin, parent)


def listed_fields(cls: type) -> frozenset[str]:
    """The fields that are written even if they are empty."""
    return frozenset(each.name for each in dataclasses.fields(cls) if LISTED in each.metadata)
