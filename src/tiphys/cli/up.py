"""tiphys up"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from tiphys.cli import add_name, home, tell


def arguments(sub: argparse.ArgumentParser) -> None:
    add_name(sub)
    sub.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where its data are (default: below ~/.local/share/tiphys)",
    )
    sub.add_argument("--nodes", type=_count, metavar="N", help="how many nodes (default: 1)")
    sub.add_argument(
        "--datastore", choices=("sqlite", "memory"), help="where objects are kept (default: sqlite)"
    )
    sub.add_argument(
        "--runtime", choices=("containerd", "simulated"), help="what runs pods (default: containerd)"
    )
    sub.add_argument("--api-port", type=_port, metavar="PORT", help="port on 127.0.0.1; 0: any free one")
    sub.add_argument(
        "--apiserver-arg",
        action="append",
        metavar="NAME=VALUE",
        help="a flag of kube-apiserver; may be given several times, and holds until others are given",
    )
    sub.add_argument(
        "--kubelet-config",
        metavar="FILE",
        help="a KubeletConfiguration for all nodes; holds until another is given, '' for none",
    )
    sub.add_argument(
        "--image-credential-provider-config",
        metavar="PATH",
        help="which plugins have credentials for images, as kubelet's flag; holds until another is given, '' for none",
    )
    sub.add_argument(
        "--image-credential-provider-bin-dir",
        metavar="DIR",
        help="where those plugins are, as kubelet's flag",
    )
    sub.add_argument(
        "--no-install", action="store_true", help="install no system packages; list what is missing"
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes") from None


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster.contexts import context_name
    from tiphys.cluster.up import Wanted, up

    started = time.monotonic()
    wanted = Wanted(
        name=options.name,
        data=options.data_dir,
        nodes=options.nodes,
        datastore=options.datastore,
        runtime=options.runtime,
        api_port=options.api_port,
        apiserver_args=options.apiserver_arg,
        kubelet_config=options.kubelet_config,
        credential_provider_config=options.image_credential_provider_config,
        credential_provider_bin_dir=options.image_credential_provider_bin_dir,
        install=not options.no_install,
    )
    has_context = up(wanted, home(), os.environ, tell)
    took = f"cluster {options.name!r} is ready after {time.monotonic() - started:.1f} s"
    tell(f"{took}; context {context_name(options.name)} is current" if has_context else took)
    suffix = "" if options.name == "default" else f" --name {options.name}"
    print(f"try: ./tiphys kubectl{suffix} get nodes")
    return 0
