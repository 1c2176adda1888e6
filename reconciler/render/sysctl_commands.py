"""Kernel settings as `sysctl` command lines. Called by `render.commands`.

What a setting of the host was before is noted in the file that `kernel.sysctl` keeps, so that `netctl destroy` can put it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reconciler.kernel.sysctl import FILE_NAME, HEADING
from reconciler.render.shell import join, quote
from reconciler.state.steps.namespaces import SysctlRestore, SysctlWrite
from reconciler.state.steps.step import Step

if TYPE_CHECKING:
    from reconciler.render.commands import Place

COMMON = """\
notes={folder}/{name}
noted() {{ awk -F '\\t' -v key="$1" -v field="$2" '$1 == key {{ print $field; exit }}' "$notes"; }}"""
REMEMBER = """\
remember() {{ # note what it is now, for netctl destroy, and set it
    (umask 077; mkdir -p {folder}; [ -e "$notes" ] || echo '{heading}' > "$notes")
    before=$(noted "$1" 4)
    printf '%s\\t%s\\t%s\\t%s\\n' "$1" {topology} "$2" "${{before:-$({tool} -n "$1")}}" >> "$notes"
    {tool} -qw "$1=$2"
}}"""
RESTORE = """\
restore() {{ # set it to what it was, unless another topology needs it, or somebody has changed it since
    [ -e "$notes" ] || return 0
    written=$(noted "$1" 3) before=$(noted "$1" 4)
    (umask 077; awk -F '\\t' -v key="$1" '$1 != key || $2 != "{topology}"' "$notes" > "$notes.tmp")
    mv "$notes.tmp" "$notes"
    [ -n "$(noted "$1" 1)" ] || [ "$({tool} -n "$1")" != "$written" ] || {tool} -qw "$1=$before"
    [ "$(wc -l < "$notes")" -gt 1 ] || rm "$notes"
}}"""


def sysctl_functions(steps: Iterable[Step], place: Place) -> Iterator[str]:
    """The shell functions that the lines of these steps call; none where no setting is remembered."""
    steps = tuple(steps)
    remembers = any(isinstance(step, SysctlWrite) and step.remember for step in steps)
    restores = any(isinstance(step, SysctlRestore) for step in steps)
    folder, tool = quote(f"/run/netctl/{place.host_key}"), place.tool("", "sysctl")
    for function, is_called in ((COMMON, remembers or restores), (REMEMBER, remembers), (RESTORE, restores)):
        if is_called:
            yield function.format(folder=folder, name=FILE_NAME, heading=HEADING, topology=place.topology, tool=tool)


def sysctl_lines(step: Step, place: Place) -> Iterator[str]:
    """The line of a SysctlWrite or SysctlRestore. TypeError for any other step."""
    match step:
        case SysctlWrite(remember=True):
            yield join(["remember", step.key, step.value])
        case SysctlWrite():
            yield place.tool(step.netns, "sysctl", "-eqw" if step.if_there else "-qw", f"{step.key}={step.value}")
        case SysctlRestore():
            yield join(["restore", step.key])
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")
