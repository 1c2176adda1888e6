"""Asking an agent for the plan that a command would print. A command asks before it imports what it needs to plan by itself."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

NAME = re.compile(rb"^name:[ \t]+[\"']?([a-z0-9-]{1,20})[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)
"""The usual way to write the name. It only finds the socket: the agent answers for the very content of its own file."""


def ask_for_diff(options: argparse.Namespace) -> int | None:
    """Print what the agent answers, and return the exit status; None if the command has to read and plan by itself."""
    if options.host or options.plan or options.commands:
        return None
    if os.geteuid() != 0:
        return None
    try:
        # A pipe can be read only once, and the command itself may have to.
        content = Path(options.file).read_bytes() if Path(options.file).is_file() else b""
    except (OSError, ValueError):
        return None
    found = NAME.search(content)
    from reconciler.kernel.run_directory.agent_socket import PROGRAM, Question, ask, read_namespaces, socket_path

    path = socket_path(found[1].decode()) if found else None
    if path is None or not path.exists():
        return None
    from hashlib import sha256

    from reconciler.render.colour import wants_colour

    question = Question(
        file=options.file,
        digest=sha256(content).hexdigest(),
        json=options.json,
        verbose=options.verbose,
        show_secrets=options.show_secrets,
        has_colour=(wants_colour(sys.stdout), wants_colour(sys.stderr)),
        docker=os.environ.get("DOCKER_HOST", ""),
        program=PROGRAM,
        namespaces=read_namespaces(),
    )
    answer = ask(path, question)
    if answer is None:
        return None
    from reconciler.cli.terminal import width
    from reconciler.render.fold import fold

    for descriptor, text in answer.texts:
        (sys.stderr if descriptor == 2 else sys.stdout).write(text if descriptor == 2 else fold(text, width()))
    return answer.status
