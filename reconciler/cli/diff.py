"""`netctl diff`: prints the plan and changes nothing: for users, as JSON, or as a shell script. `--plan` saves it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file, add_host, add_plan_options
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.common import Job
    from reconciler.fleet.target import Target
    from reconciler.plan.document import HostPlan, PlanDocument
    from reconciler.state.shell import HostShell
    from reconciler.topology.types import Topology

DIFFERS = 1
MASKED = "The values of variables are masked ({mask}), so this script is only for reading: --show-secrets prints one that runs."
EXAMPLES = """\
  netctl diff                         what would change
  netctl diff --commands              the same as ip, nft and docker command lines
  netctl diff --commands --show-secrets
                                      with the values of variables, ready to run
  netctl diff --json | jq .hosts      for programs
exit status: 0 nothing differs, 1 something does, 2 or more trouble
"""


def add_arguments(parser: Parser) -> None:
    """FILE, and the options for the form of the plan."""
    add_file(parser)
    add_host(parser)
    add_plan_options(parser)
    parser.add_argument("--plan", metavar="FILE", help="also save the plan there")
    parser.add_argument("--commands", action="store_true", help="print the plan as a shell script")


def run(options: argparse.Namespace) -> int:
    """0 if nothing differs, 1 otherwise."""
    from reconciler.cli.ask import ask_for_diff

    if options.commands and options.json:
        raise UsageError("--commands and --json exclude each other", "ask for one of them")
    if (status := ask_for_diff(options)) is not None:
        return status
    from reconciler.cli.common import open_job, plan_job

    with open_job(options, lock=False) as job:
        plans = plan_job(job, document=bool(options.json or options.plan or options.commands))
        job.fleet.prepare()
        targets = job.fleet.targets
    return show(options, job, plans, targets)


def show(options: argparse.Namespace, job: Job, plans: Mapping[str, HostPlan], targets: tuple[Target, ...]) -> int:
    """Print the plan, and the warnings of the file and of the hosts; the exit status."""
    from reconciler.cli.common import palette, warn_of_drops, warn_of_file, warn_of_slow_paths
    from reconciler.cli.planfile import save_plan
    from reconciler.cli.terminal import show as fold_and_print
    from reconciler.plan.document import compile_document, render_document, shown_document
    from reconciler.render.plan import render_plan

    document = compile_document(job.topology.name, tuple(plans.values()))
    if options.plan:
        save_plan(options.plan, render_document(document))
    shown = shown_document(document, show_secrets=options.show_secrets)
    if options.json:
        sys.stdout.write(render_document(shown))
    elif options.commands:
        script = _render_commands(job.topology, targets, shown, is_masked=not options.show_secrets and shown != document)
        sys.stdout.write(script)
    else:
        fold_and_print(render_plan(shown, palette(), verbose=options.verbose))
    warn_of_file(job.topology, job.desired.resolved)
    warn_of_drops(job)
    warn_of_slow_paths(job)
    return DIFFERS if any(host.changes for host in document.hosts) else 0


def _render_commands(topology: Topology, targets: tuple[Target, ...], document: PlanDocument, *, is_masked: bool) -> str:
    from reconciler.fleet.ssh import render_shell
    from reconciler.render.commands import Section, render_script
    from reconciler.state.ref import LAB
    from reconciler.state.secrets import MASK

    plans = {host.host: host for host in document.hosts}
    shells = {target.host: shell_of(topology, target) for target in targets}
    remote = {target.host: render_shell(target.ssh) for target in targets if target.ssh}
    hosts = [host for host in plans if host != LAB]
    lab = [LAB] if LAB in plans else []
    sections = [
        Section(
            f"{host}: {phase}", shells[host], tuple(batch.steps for batch in getattr(plans[host], phase)), remote.get(host, "")
        )
        # The order of an apply: the lab contains its hosts, so it is last in the removal, and first in the creation.
        for phase, group in (("remove", hosts), ("remove", lab), ("make", lab), ("make", hosts))
        for host in group
        if host in shells
    ]
    return render_script(f"what `netctl apply {topology.path}` would do", sections, MASKED.format(mask=MASK) if is_masked else "")


def shell_of(topology: Topology, target: Target) -> HostShell:
    """How command lines enter the host's namespaces."""
    from reconciler.state.container_spec import HOLDER
    from reconciler.state.engines import ENGINES
    from reconciler.state.shell import EngineShell, HostShell

    mine = [c for c in topology.containers.values() if c.host == target.host and c.spec.runtime != "netns"]
    engines = {}
    for container in mine:
        engine = ENGINES[container.spec.runtime]
        command = engine.command(target.engines.get(container.spec.runtime, ""))
        holder = container.engine_name if container.existing else container.engine_name + HOLDER
        pid = "" if engine.joins_path and not container.existing else engine.pid(command, holder)
        engines[container.name] = EngineShell(command, pid)
    return HostShell(topology.name, target.host_key, target.netns, engines, target.openvswitch)


COMMAND = Command("diff", "print the plan and change nothing", EXAMPLES, add_arguments, run, aliases=("plan",))
