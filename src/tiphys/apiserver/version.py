"""Which Kubernetes this is: what /version says and kubectl compares itself with."""

from __future__ import annotations

import platform
import sys

GIT_VERSION = "v1.36.2"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": f"{GIT_VERSION}+tiphys",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-11-22T00:00:00Z",
    "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
    "compiler": platform.python_implementation().lower(),
    "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
}
