"""The iptables commands, for netctl's one rule in DOCKER-USER, and for the ports that Docker publishes.

The module runs the commands and does not imitate them. Only they know whether the host's rules are of the legacy or the
nft kind, and `iptables -S` shows exactly what they write. `-w 5` waits up to five seconds for the lock, which dockerd
takes often.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from ipaddress import ip_address
from itertools import pairwise
from typing import cast, get_args

from reconciler.kernel.namespaces import Namespaces
from reconciler.kinds.firewall.docker_user import DOCKER_CHAIN
from reconciler.state.foreign import HostPort, TransportProtocol
from reconciler.state.ref import HOST
from reconciler.state.snapshot import IptablesRuleInfo
from reconciler.state.steps.firewall import IptablesAdd, IptablesDelete
from reconciler.state.steps.step import StepError

COMMANDS = ("iptables", "ip6tables")
DOCKER_NAT_CHAIN = "DOCKER"
"""The chain in the table nat in which Docker translates its published ports."""
TIMEOUT_S = 30


def run_iptables(command: str, table: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output, and error message; status 127 for a missing command, 124 for one that does not end.

    For a thread that has entered the namespace: a child inherits it.
    """
    line = [command, "-w", "5", "-t", table, *arguments]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        return 127, "", f"cannot run {command}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return 124, "", f"{command} gave no answer for {TIMEOUT_S} s"
    return done.returncode, done.stdout, done.stderr.strip().partition("\n")[0]


def apply_step(namespaces: Namespaces, step: IptablesAdd | IptablesDelete) -> None:
    """Insert the rule unless it exists, or delete it if it does. StepError with iptables' own words."""
    work: Callable[[], str] = (lambda: _add(step)) if isinstance(step, IptablesAdd) else (lambda: _delete(step))
    fault = namespaces.run(step.netns, work)
    if fault:
        raise StepError(step, fault)


def _add(step: IptablesAdd) -> str:
    if run_iptables(step.command, step.table, "-C", step.chain, *step.rule)[0] == 0:
        return ""
    status, _, words = run_iptables(step.command, step.table, "-I", step.chain, *step.rule)
    return "" if status == 0 else words or f"{step.command} ended with status {status}"


def _delete(step: IptablesDelete) -> str:
    # A rule that was inserted twice, by a restore of saved rules, is deleted twice.
    while run_iptables(step.command, step.table, "-C", step.chain, *step.rule)[0] == 0:
        status, _, words = run_iptables(step.command, step.table, "-D", step.chain, *step.rule)
        if status:
            return words or f"{step.command} ended with status {status}"
    return ""


def read_docker_user(namespaces: Namespaces, netns: str = HOST) -> tuple[tuple[str, ...], tuple[IptablesRuleInfo, ...]]:
    """The commands whose family has Docker's chain, and every rule in it. A host without iptables has neither."""
    return namespaces.run(netns, _read)


def _read() -> tuple[tuple[str, ...], tuple[IptablesRuleInfo, ...]]:
    commands: list[str] = []
    rules: list[IptablesRuleInfo] = []
    for command in COMMANDS:
        status, output, _ = run_iptables(command, "filter", "-S", DOCKER_CHAIN)
        if status:
            continue
        commands.append(command)
        rules += parse_rules(command, output)
    return tuple(commands), tuple(rules)


def parse_rules(command: str, output: str) -> list[IptablesRuleInfo]:
    """The rules (`-A DOCKER_CHAIN …`) in the output of `iptables -S DOCKER_CHAIN`."""
    rules = []
    for line in output.splitlines():
        words = shlex.split(line)
        if words[:2] == ["-A", DOCKER_CHAIN]:
            rules.append(IptablesRuleInfo(command, "filter", DOCKER_CHAIN, tuple(words[2:])))
    return rules


def read_docker_ports(command: str) -> list[HostPort]:
    """The ports that Docker publishes by its rules, in the calling thread's namespace."""
    status, output, _ = run_iptables(command, "nat", "-S", DOCKER_NAT_CHAIN)
    return [] if status else parse_docker_ports(output, "0.0.0.0" if command == "iptables" else "::")


def parse_docker_ports(output: str, everywhere: str) -> list[HostPort]:
    """The ports in the output of `iptables -t nat -S DOCKER`; `everywhere` stands for a rule without an address."""
    found = []
    for line in output.splitlines():
        words = shlex.split(line)
        options = dict(pairwise(words))
        if (
            options.get("-j") == "DNAT"
            and options.get("-p") in get_args(TransportProtocol)
            and options.get("--dport", "").isdecimal()
        ):
            address = options.get("-d", everywhere).partition("/")[0]
            protocol = cast("TransportProtocol", options["-p"])
            found.append(HostPort(protocol=protocol, address=ip_address(address), port=int(options["--dport"])))
    return found
