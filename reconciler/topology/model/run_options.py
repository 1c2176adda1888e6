"""How an engine runs a container: field types of the model, with the words and forms of Compose.

Each parser takes a YAML value and returns the one of `state.container_spec`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from reconciler.state.container_spec import Healthcheck, Logging, Ulimit
from reconciler.topology.quantities import parse_cpus, parse_duration, parse_seconds, parse_size
from reconciler.topology.scalars import describe, expect_text, parse_item, parse_pairs, refuse, shorten, suggest

CAPABILITIES = (
    *("AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE"),
    *("DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN"),
    *("MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID"),
    *("SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT"),
    *("SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"),
)
"""capabilities(7), without `CAP_`."""
LIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
    *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)
"""getrlimit(2), as Docker writes them."""
_SIGNAL = re.compile(r"(SIG)?[A-Z][A-Z0-9]*([+-][0-9]+)?|[1-9][0-9]?")
_DEVICE = re.compile(r"/[^:]+(:/[^:]+)?(:[rwm]{1,3})?|[a-z0-9][a-z0-9.-]*/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9._:-]+", re.IGNORECASE)
"""A device file, or a name of the Container Device Interface: `vendor.com/class=name`."""
_SECURITY = re.compile(
    r"no-new-privileges([:=](true|false))?|(seccomp|systempaths)[=:]unconfined|(apparmor|label)[=:][A-Za-z0-9_.:/-]+"
)
_OWN = "netctl."
"""What begins the names of netctl's own labels."""


def _text(what: str, pattern: str, example: str, value: Any) -> str:
    text = expect_text(value, what, f"write one such as {example}", pattern)
    if not re.fullmatch(pattern, text):
        raise refuse(f"is not {what}: `{shorten(text)}`", f"write one such as {example}")
    return text


def _expect_line(value: Any, what: str) -> str:
    text = expect_text(value, what)
    if not text.isprintable():
        raise refuse(f"has a character that no line can hold: `{shorten(text)}`", "remove it")
    return text


def _items(parse: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    """A list, each item parsed; one text stands for a list of one, as in Compose."""
    if isinstance(value, str):
        return (parse(value),)
    if not isinstance(value, tuple):
        raise refuse(f"must be a list, but is {describe(value)}", "start each item with `- `")
    return tuple(parse_item(parse, item, number) for number, item in enumerate(value))


def parse_user(value: Any) -> str:
    """`name` or `uid`, and if given `:group`; a plain number is a uid."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _text("a user", r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", "1000:1000", value)


def parse_directory(value: Any) -> str:
    """An absolute path in the container."""
    text = _expect_line(value, "a path")
    if not text.startswith("/"):
        raise refuse(f"must be an absolute path, but is `{shorten(text)}`", "write it from / on")
    return text


def parse_labels(value: Any) -> tuple[tuple[str, str], ...]:
    """A mapping of name to text, or a list of `name=text`."""
    if not isinstance(value, tuple | dict):
        raise refuse(f"must be a mapping of name to text, but is {describe(value)}", "write `labels: {name: text}`")
    return parse_pairs(value, _split_label, _check_label)


def _split_label(item: Any) -> tuple[str, str]:
    name, _, text = expect_text(item, "name=text").partition("=")
    return name, text


def _check_label(pair: tuple[str, Any]) -> None:
    name, text = pair
    if not name or not name.isprintable() or "=" in name:
        raise refuse(f"has a name that no label can have: `{shorten(name)}`", "use letters, digits, `.`, `-` and `_`")
    if name.startswith(_OWN):
        raise refuse(f"must not set `{shorten(name)}`: labels that begin with `{_OWN}` are netctl's own", "rename it")
    if not isinstance(text, str):
        is_plain = isinstance(text, bool | int | float)
        written = str(text).lower() if isinstance(text, bool) else str(text)
        help_text = f'write "{written}"' if is_plain else "write text"
        raise refuse(f"must give text for `{shorten(name)}`, but gives {describe(text)}", help_text)
    if "\0" in text:
        raise refuse(f"has a NUL in `{shorten(name)}`", "remove it")


def _parse_capability(value: Any) -> str:
    name = expect_text(value, "a capability", "write one such as NET_ADMIN").upper().removeprefix("CAP_")
    if name != "ALL" and name not in CAPABILITIES:
        help_text = suggest(name, CAPABILITIES) or "capabilities(7) lists them"
        raise refuse(f"is not a capability: `{shorten(str(value))}`", help_text)
    return name


def _parse_tmpfs(value: Any) -> str:
    text = _expect_line(value, "a path, and options after a `:`")
    if not text.startswith("/"):
        raise refuse(f"must be an absolute path, but is `{shorten(text)}`", "write one such as /run:size=64m")
    return text


def _parse_security(value: Any) -> str:
    text = expect_text(value, "a security option", "write one such as no-new-privileges:true")
    if not _SECURITY.fullmatch(text):
        known = "no-new-privileges, seccomp=unconfined, systempaths=unconfined, apparmor=PROFILE and label=OPTION"
        is_profile = text.startswith(("seccomp=", "seccomp:"))
        help_text = "give a profile of your own to the engine: `seccomp-profile` in /etc/docker/daemon.json"
        raise refuse(f"is not a security option: `{shorten(text)}`", help_text if is_profile else f"the options are {known}")
    return text


def parse_ulimits(value: Any) -> tuple[Ulimit, ...]:
    """`{nofile: 1024}`, or `{nofile: {soft: 1024, hard: 4096}}`."""
    if not isinstance(value, dict):
        raise refuse(f"must be a mapping of limit to number, but is {describe(value)}", "write `ulimits: {nofile: 4096}`")
    return tuple(parse_item(partial(_parse_limit, name), held, name) for name, held in value.items())


def _parse_limit(name: str, held: Any) -> Ulimit:
    if name not in LIMITS:
        raise refuse(f"has no limit `{shorten(name)}`", suggest(name, LIMITS) or f"the limits are {', '.join(LIMITS)}")
    ends = held if isinstance(held, dict) else {"soft": held, "hard": held}
    if ends.keys() != {"soft", "hard"}:
        raise refuse(f"must give `{name}` a soft and a hard limit", f"write `{name}: {{soft: 1024, hard: 4096}}`")
    for number in ends.values():
        if not isinstance(number, int) or isinstance(number, bool) or number < -1:
            raise refuse(f"must give a number for `{name}`, but gives {describe(number)}", "write one, or -1 for no limit")
    soft, hard = ends["soft"], ends["hard"]
    if hard != -1 and (soft == -1 or soft > hard):
        raise refuse(f"gives `{name}` a soft limit above the hard one", "write the larger number as `hard`")
    return Ulimit(name, soft, hard)


# --- health -----------------------------------------------------------------------------------------------------------

_TIMES = ("interval", "timeout", "start_period", "start_interval")
_HEALTH_KEYS = ("test", *_TIMES, "retries", "disable")


def parse_healthcheck(value: Any) -> Healthcheck:
    """A test, and when it runs; `{disable: true}` for none."""
    if not isinstance(value, dict):
        raise refuse(f"must be a mapping, but is {describe(value)}", "write `healthcheck: {test: [CMD, true], interval: 30s}`")
    for key in value:
        if key not in _HEALTH_KEYS:
            help_text = suggest(key, _HEALTH_KEYS) or f"the keys are {', '.join(_HEALTH_KEYS)}"
            raise refuse(f"has no key `{shorten(key)}`", help_text, (key,))
    if value.get("disable", False) not in (True, False):
        raise refuse("must have true or false for `disable`", "write `disable: true`", ("disable",))
    if value.get("disable"):
        return Healthcheck(test=("NONE",))
    times = {f"{key}_ns": parse_item(parse_duration, value[key], key) for key in _TIMES if key in value}
    retries = parse_item(_parse_count, value["retries"], "retries") if "retries" in value else 0
    test = parse_item(_parse_test, value["test"], "test") if "test" in value else ()
    return Healthcheck(test=test, retries=retries, **times)


def _parse_test(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return ("CMD-SHELL", value)
    help_text = 'write [CMD, PROGRAM, …], [CMD-SHELL, "LINE"], [NONE], or a line for the shell'
    if not isinstance(value, tuple) or not value or not all(isinstance(word, str) for word in value):
        raise refuse(f"must be a test, but is {describe(value)}", help_text)
    fits = {"CMD": len(value) > 1, "CMD-SHELL": len(value) == 2, "NONE": len(value) == 1}
    if not fits.get(value[0], False):
        raise refuse(f"is not a test: `{shorten(shlex.join(value))}`", help_text)
    return value


def _parse_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refuse(f"must be a number from 1 on, but is {describe(value)}", "write one such as 3")
    return value


def parse_logging(value: Any) -> Logging:
    """`{driver: json-file, options: {max-size: 10m}}`."""
    if not isinstance(value, dict) or not value.keys() <= {"driver", "options"}:
        raise refuse("must be a driver and its options", "write `logging: {driver: json-file, options: {max-size: 10m}}`")
    options = value.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
        raise refuse("must give each option as text", 'write numbers in quotes: `options: {max-file: "3"}`', ("options",))
    return Logging(parse_item(_parse_driver, value.get("driver", "json-file"), "driver"), tuple(options.items()))


def _parse_driver(value: Any) -> str:
    return _text("a driver", r"[A-Za-z0-9][A-Za-z0-9_./:-]*", "json-file", value)


# --- types of fields --------------------------------------------------------------------------------------------------

_STRING = {"type": "string", "minLength": 1}
_STRINGS: Mapping[str, Any] = {"anyOf": [{"type": "array", "items": _STRING}, _STRING]}
_SIZE: Mapping[str, Any] = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "examples": ["512m", "2g"]}]}
_DURATION: Mapping[str, Any] = {"type": "string", "examples": ["30s", "1m30s"]}
_LABELS: Mapping[str, Any] = {
    "anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "array", "items": _STRING}]
}
_LIMIT: Mapping[str, Any] = {
    "type": "object",
    "properties": {"soft": {"type": "integer"}, "hard": {"type": "integer"}},
    "required": ["soft", "hard"],
    "additionalProperties": False,
}
_HEALTH: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "test": _STRINGS,
        **dict.fromkeys(_TIMES, _DURATION),
        "retries": {"type": "integer", "minimum": 1},
        "disable": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_LOGGING: Mapping[str, Any] = {
    "type": "object",
    "properties": {"driver": _STRING, "options": {"type": "object", "additionalProperties": {"type": "string"}}},
    "additionalProperties": False,
}


def _schema(form: Mapping[str, Any]) -> WithJsonSchema:
    return WithJsonSchema(dict(form))


User = Annotated[str, PlainValidator(parse_user), _schema({"anyOf": [_STRING, {"type": "integer", "minimum": 0}]})]
Directory = Annotated[str, PlainValidator(parse_directory), _schema({"type": "string", "pattern": "^/"})]
Labels = Annotated[tuple[tuple[str, str], ...], PlainValidator(parse_labels), _schema(_LABELS)]
Health = Annotated[Healthcheck | None, PlainValidator(parse_healthcheck), _schema(_HEALTH)]
Capabilities = Annotated[tuple[str, ...], PlainValidator(partial(_items, _parse_capability)), _schema(_STRINGS)]
Tmpfs = Annotated[tuple[str, ...], PlainValidator(partial(_items, _parse_tmpfs)), _schema(_STRINGS)]
Devices = Annotated[
    tuple[str, ...],
    PlainValidator(partial(_items, partial(_text, "a device", _DEVICE.pattern, "/dev/net/tun"))),
    _schema(_STRINGS),
]
SecurityOptions = Annotated[tuple[str, ...], PlainValidator(partial(_items, _parse_security)), _schema(_STRINGS)]
Ulimits = Annotated[
    tuple[Ulimit, ...],
    PlainValidator(parse_ulimits),
    _schema({"type": "object", "additionalProperties": {"anyOf": [{"type": "integer"}, dict(_LIMIT)]}}),
]
Size = Annotated[int, PlainValidator(parse_size), _schema(_SIZE)]
Cpus = Annotated[int, PlainValidator(parse_cpus), _schema({"anyOf": [{"type": "number"}, {"type": "string"}]})]
Count = Annotated[int, PlainValidator(_parse_count), _schema({"type": "integer", "minimum": 1})]
Signal = Annotated[str, PlainValidator(partial(_text, "a signal", _SIGNAL.pattern, "SIGTERM")), _schema(_STRING)]
Seconds = Annotated[
    int | None, PlainValidator(parse_seconds), _schema({"anyOf": [{"type": "integer", "minimum": 0}, dict(_DURATION)]})
]
LoggingField = Annotated[Logging | None, PlainValidator(parse_logging), _schema(_LOGGING)]
