"""tiphys kubeconfig"""

from __future__ import annotations

import argparse

from tiphys.cli import add_name, home


def arguments(sub: argparse.ArgumentParser) -> None:
    add_name(sub)


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster.layout import require_layout

    print(require_layout(home(), options.name).kubeconfig)
    return 0
