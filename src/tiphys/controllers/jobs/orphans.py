"""Lets go of pods whose job is no more, or does not count any more: their finalizer would keep them for ever.

It looks at pods with the finalizer only, and at these only when they are being deleted, belong to nobody, or when their job ends or goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.resources import JOBS, PODS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan
from tiphys.controllers.jobs.finished import finished, is_ours
from tiphys.controllers.jobs.making import is_tracked, release
from tiphys.controllers.pods import spec_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import label_selector_from_dict


@frozen
class Observed:
    is_looked_after: bool
    """There is somebody who will count the pod."""


def observe(pod: Object, view: View) -> Observed:
    return Observed(_is_looked_after(pod, view))


def _is_looked_after(pod: Object, view: View) -> bool:
    owner, namespace = meta.controller_of(pod), meta.namespace(pod)
    if owner is None:
        return any(_may_adopt(job, pod) for job in view.list(JOBS, namespace))
    if (owner.get("kind"), owner.get("apiVersion")) != (JOBS.kind, JOBS.api_version):
        return True
    job = view.get(JOBS, owner["name"], namespace)
    if job is None or meta.uid(job) != owner.get("uid"):
        return False
    return not is_ours(job) or not finished(job)


def _may_adopt(job: Object, pod: Object) -> bool:
    if finished(job) or meta.is_deleting(job) or meta.is_deleting(pod):
        return False
    return label_selector_from_dict(spec_of(job).get("selector")).matches(meta.labels(pod))


def plan(pod: Object, observed: Observed, now: datetime) -> Plan:
    if observed.is_looked_after or not is_tracked(pod):
        return NOTHING
    return Plan(tuple(release([pod])), reason="nobody counts it any more")


def _concerns(pod: Object) -> bool:
    return is_tracked(pod) and (meta.is_deleting(pod) or meta.controller_of(pod) is None)


def _pods_of(job: Object, view: View) -> Iterable[str]:
    selector = label_selector_from_dict(spec_of(job).get("selector"))
    orphans = view.by(PODS, BY_CONTROLLER, f"orphan/{meta.namespace(job)}")
    owned = view.by(PODS, BY_CONTROLLER, meta.uid(job))
    matching = [pod for pod in orphans if is_tracked(pod) and selector.matches(meta.labels(pod))]
    return [meta.namespaced_name(pod) for pod in (*owned, *matching) if is_tracked(pod)]


def _has_ended(old: Object, new: Object) -> bool:
    return not finished(old) and bool(finished(new))


ORPHANS = Controller(
    name="job-orphans-controller",
    kind=PODS,
    observe=observe,
    plan=plan,
    concerns=_concerns,
    watches=[Watch(JOBS, _pods_of, changed=_has_ended)],
)
