"""persistentvolume-protection-controller: a volume that is bound to a claim stays until it no longer is.

Rules are upstream's `pkg/controller/volume/pvprotection`: the volume's own phase says whether it is bound.
"""

from __future__ import annotations

from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.resources import PERSISTENTVOLUMES
from tiphys.client.transport import Object
from tiphys.controllers.actions import Plan
from tiphys.controllers.pods import status_of
from tiphys.controllers.protection import Use, protect
from tiphys.controllers.runner import Controller

FINALIZER = "kubernetes.io/pv-protection"


def observe(volume: Object, view: View) -> Use:
    return Use(found=status_of(volume).get("phase") == "Bound")


def plan(volume: Object, use: Use, now: datetime) -> Plan:
    return protect(PERSISTENTVOLUMES, volume, FINALIZER, use)


CONTROLLER = Controller(
    name="persistentvolume-protection-controller", kind=PERSISTENTVOLUMES, observe=observe, plan=plan
)
