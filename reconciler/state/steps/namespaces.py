"""Steps on network namespaces, and on the settings of the kernel in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.state.naming import Alias
from reconciler.state.ref import container_of
from reconciler.state.shell import HostShell, join, quote
from reconciler.state.steps.backends import NETNS, SYSCTL
from reconciler.state.steps.step import Step

SILENT = (
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/lo/accept_ra", "0"),  # kinds.netns recognises the namespace by it
    ("net/ipv6/conf/lo/disable_ipv6", "0"),
)
"""A namespace without IPv6 except ::1: `all` also sets `default` and every existing link.

Source: addrconf_disable_ipv6 in net/ipv6/addrconf.c.
"""
PROMPT = (
    ("net/ipv6/conf/all/disable_ipv6", "0"),  # a new namespace may inherit the machine's 1 (net.core.devconf_inherit_init_net)
    ("net/ipv6/conf/all/accept_dad", "0"),  # DAD is off only if both settings say so
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),  # nor does the kernel solicit one (addrconf_dad_completed in net/ipv6/addrconf.c)
)
"""A namespace with IPv6, without duplicate address detection and without router advertisements.

Its addresses are known to be unique, and DAD would lose the first packets. The kernel neither solicits routers nor
accepts their advertisements.
"""

FILE_NAME = "sysctl"
"""The file in the host's directory under /run/netctl with the previous values of the host's settings."""
HEADING = "# kernel setting, topology, value written, value before: for netctl to restore"

_NOTED = """\
notes={folder}/{name}
noted() {{ awk -F '\\t' -v key="$1" -v field="$2" '$1 == key {{ print $field; exit }}' "$notes"; }}"""
_REMEMBER = """\
remember() {{ # note the current value, for netctl destroy, and set it
    (umask 077; mkdir -p {folder}; [ -e "$notes" ] || echo '{heading}' > "$notes")
    before=$(noted "$1" 4)
    if [ -z "$before" ]; then
        before=$({tool} -n "$1")
        links "$1" | while read -r each; do # it sets those of single links, too
            held=$({tool} -n "$each") first=$(noted "$each" 4)
            [ "$held" = "$before" ] || printf '%s\\t%s\\t%s\\t%s\\n' "$each" "$1" "$held" "${{first:-$held}}" >> "$notes"
        done
    fi
    printf '%s\\t%s\\t%s\\t%s\\n' "$1" {topology} "$2" "$before" >> "$notes"
    {tool} -qw "$1=$2"
}}
links() {{ # the settings of single links that the kernel sets with this one
    case $1 in
    net.ipv4.ip_forward) {tool} -aN | grep '^net.ipv4.conf.*.forwarding$' | grep -v '^net.ipv4.conf.all.' ;;
    net.ipv6.conf.all.forwarding) {tool} -aN | grep '^net.ipv6.conf.*.forwarding$' | grep -v '^net.ipv6.conf.all.' ;;
    esac
}}"""
_RESTORE = """\
restore() {{ # restore the previous value, unless another topology needs it, or another program has changed it since
    [ -e "$notes" ] || return 0
    written=$(noted "$1" 3) before=$(noted "$1" 4)
    (umask 077; awk -F '\\t' -v key="$1" '$1 != key || $2 != "{topology}"' "$notes" > "$notes.tmp")
    mv "$notes.tmp" "$notes"
    if [ -z "$(noted "$1" 1)" ]; then
        if [ "$({tool} -n "$1")" = "$written" ]; then
            links=$(noted_with "$1" | while read -r each value; do
                [ "$({tool} -n "$each" 2>&1)" != "$written" ] || echo "$each=$value"
            done)
            {tool} -qw "$1=$before"
            for each in $links; do {tool} -qw "$each"; done
        fi
        (umask 077; awk -F '\\t' -v key="$1" '$2 != key' "$notes" > "$notes.tmp")
        mv "$notes.tmp" "$notes"
    fi
    [ "$(wc -l < "$notes")" -gt 1 ] || rm "$notes"
}}
noted_with() {{ # settings of single links that were noted with this one, and what each gets: a topology may still need it
    awk -F '\\t' -v key="$1" 'NR > 1 {{ lines[$1]++; last[$1] = $3; if (!($1 in first)) first[$1] = $4; if ($2 == key) with[$1] }}
        END {{ for (each in with) print each, lines[each] == 1 ? first[each] : last[each] }}' "$notes"
}}"""


@dataclass(frozen=True, slots=True)
class NetnsAdd(Step):
    """Create the namespace with its loopback up, and mount it at /run/netns (ip-netns(8)). `netns` is the new namespace.

    With `ipv6` false, it sets net.ipv6.conf.all.disable_ipv6 to 1 (which also sets `default`) while the namespace is
    empty. So its links never send IPv6 packets of their own; the loopback keeps ::1. With `ipv6`, it sets
    net.ipv6.conf.default.accept_dad and net.ipv6.conf.default.accept_ra to 0. So addresses work at once, and the kernel
    solicits no router.
    """

    backend = NETNS
    ipv6: bool

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield join(["ip", "netns", "add", shell.netns_word(self.netns)])
        settings = (f"{key.replace('/', '.')}={value}" for key, value in (PROMPT if self.ipv6 else SILENT))
        yield shell.tool(self.netns, "sysctl", "-qw", *settings)
        # The owner: the hosts of a lab share /run/netns.
        owner = str(Alias(shell.topology, "host", shell.host_key))
        yield shell.tool(self.netns, "ip", "link", "set", "dev", "lo", "up", "alias", owner)


@dataclass(frozen=True, slots=True)
class NetnsDelete(Step):
    """Unmount and delete the namespace. The kernel deletes its contents a moment later."""

    backend = NETNS

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield join(["ip", "netns", "delete", shell.netns_word(self.netns)])
        if container := container_of(self.netns):
            logs = f"/run/netctl/{shell.topology}"
            yield f"rm -f {quote(f'{logs}/{container}.log')}; rmdir {quote(logs)} 2>/dev/null || true"


@dataclass(frozen=True, slots=True)
class SysctlWrite(Step):
    """Write a sysctl, by its dotted key with `/` for a dot within a name (`net.ipv4.conf.eth0/1.forwarding`).

    With `remember`, the step first notes the previous value in the host's file under /run/netctl; SysctlRestore
    restores it. With `if_there`, a missing key is no error: the link of that name has been deleted meanwhile.
    """

    backend = SYSCTL
    key: str
    value: str
    remember: bool
    if_there: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        if self.remember:
            yield join(["remember", self.key, self.value])
        else:
            yield shell.tool(self.netns, "sysctl", "-eqw" if self.if_there else "-qw", f"{self.key}={self.value}")

    def shell_functions(self, shell: HostShell) -> Iterator[str]:
        if self.remember:
            yield _define(_NOTED, shell)
            yield _define(_REMEMBER, shell)


@dataclass(frozen=True, slots=True)
class SysctlRestore(Step):
    """Release a remembered sysctl. If no other topology uses it and it has netctl's value, restore the previous value."""

    backend = SYSCTL
    key: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield join(["restore", self.key])

    def shell_functions(self, shell: HostShell) -> Iterator[str]:
        yield _define(_NOTED, shell)
        yield _define(_RESTORE, shell)


def _define(function: str, shell: HostShell) -> str:
    folder, tool = quote(f"/run/netctl/{shell.host_key}"), shell.tool("", "sysctl")
    return function.format(folder=folder, name=FILE_NAME, heading=HEADING, topology=shell.topology, tool=tool)
