"""System packages that containers need: which are missing, and how they come here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tiphys.cluster.layout import ClusterError
from tiphys.machinery.frozen import frozen


@frozen
class Requirement:
    """Any one of `programs` will do (absolute paths, or names on PATH); `package` brings it on Debian and Ubuntu."""

    package: str
    programs: tuple[str, ...]
    purpose: str


REQUIREMENTS = (
    Requirement("containerd", ("containerd",), "runs containers"),
    Requirement("crun", ("crun", "runc"), "starts them"),
    Requirement(
        "containernetworking-plugins",
        ("/usr/lib/cni/bridge", "/opt/cni/bin/bridge"),
        "gives pods their network",
    ),
    Requirement("iproute2", ("ip",), "wires nodes"),
    Requirement("nftables", ("nft",), "routes services"),
    Requirement("conntrack", ("conntrack",), "forgets connections of endpoints that are gone"),
    Requirement("busybox-static", ("/bin/busybox",), "is the image that every node has"),
    Requirement("util-linux", ("nsenter",), "enters nodes"),
)
# Programs that are needed are also looked for where an ordinary user's PATH does not lead.
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _exists(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=os.environ.get("PATH", "") + ":" + _SEARCH) is not None


def missing(requirements: tuple[Requirement, ...] = REQUIREMENTS) -> list[Requirement]:
    return [each for each in requirements if not any(map(_exists, each.programs))]


def ensure(tell: Callable[[str], None], *, install: bool, environment: Mapping[str, str]) -> None:
    """Installs what is missing through apt, after saying so. Raises ClusterError when it may not or cannot."""
    lacking = missing()
    if not lacking:
        return
    names = [each.package for each in lacking]
    listed = "\n".join(f"  {each.package}: {each.purpose}" for each in lacking)
    command = f"apt-get install -y --no-install-recommends {' '.join(names)}"
    if not install:
        raise ClusterError(f"system packages are missing:\n{listed}", f"install them: {command}")
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"system packages are missing:\n{listed}", "install them with this system's package manager"
        )
    if os.geteuid() != 0:
        raise ClusterError(f"system packages are missing:\n{listed}", f"install them as root: sudo {command}")
    tell(f"installing system packages: {', '.join(names)}")
    _apt(["update", "-qq"], environment)
    _apt(["install", "-y", "-qq", "--no-install-recommends", *names], environment)
    still = missing()
    if still:
        raise ClusterError(f"apt did not bring {still[0].package}", f"look at: {command}")


def _apt(arguments: list[str], environment: Mapping[str, str]) -> None:
    # Debian would start its own containerd service; ours is another instance and never the host's.
    quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    result = subprocess.run(["apt-get", *arguments], capture_output=True, text=True, env=quiet, check=False)
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
        raise ClusterError(f"apt-get {arguments[0]} failed: {lines[-1]}", "run it by hand to see more")
