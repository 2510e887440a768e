"""The `tiphys` command: one file a subcommand, loaded when it is used.

A subcommand's module has `HELP`, `arguments(parser)` and `run(options) -> int`. What a person can mend is a ClusterError: one
line and a cure, exit code 1. Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

COMMANDS = {
    "up": "make a cluster, or resume it, and wait until its nodes are Ready",
    "down": "stop a cluster; with --purge forget it",
    "status": "show what runs",
    "kubeconfig": "print the path of the cluster's kubeconfig",
    "kubectl": "run the bundled kubectl against the cluster",
    "logs": "show what a component says",
    "certs": "show the cluster's certificates, or make them anew",
    "image": "bring images into the nodes, list and remove them",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read what is right."""

    def error(self, message: str) -> NoReturn:
        tell(f"{message} (see: {self.prog} --help)")
        self.exit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(prog="tiphys", description="Kubernetes, whole, in Python.")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", add_help=name != "kubectl"
        )
        import_module(f"tiphys.cli.{name}").arguments(sub)
    return top


def add_name(sub: argparse.ArgumentParser) -> None:
    """--name, the same for every subcommand."""
    sub.add_argument(
        "--name", default="default", metavar="NAME", help="the cluster's name (default: default)"
    )


def home() -> Path:
    from tiphys.cluster.layout import state_home

    return state_home(os.environ)


def tell(text: str) -> None:
    """Progress goes to standard error: standard output is for scripts."""
    print(f"tiphys: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    except OSError as error:
        tell(_explain(error))
        return 1


def _run(given: list[str]) -> int:
    from tiphys.cluster.layout import ClusterError

    try:
        if given[:1] == ["kubectl"]:  # Everything behind it is kubectl's own.
            from tiphys.cli import kubectl

            return kubectl.run_arguments(given[1:])
        options = parser().parse_args(given)
        code: int = import_module(f"tiphys.cli.{options.command}").run(options)
        return code
    except ClusterError as error:
        tell(f"{error.message}" + (f" ({error.cure})" if error.cure else ""))
        return 1


def _explain(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
