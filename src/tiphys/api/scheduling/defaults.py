"""Defaults of priority classes and pod groups (`pkg/apis/scheduling/*/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object


def priority_class(obj: Object) -> None:
    obj.setdefault("value", 0)
    fill(obj, preemptionPolicy="PreemptLowerPriority")


def pod_group(obj: Object) -> None:
    part(part(obj, "spec"), "schedulingPolicy")


def workload(obj: Object) -> None:
    for template in part(obj, "spec").get("podGroupTemplates") or ():
        part(template, "schedulingPolicy")
