"""What a write of a job may not decide for itself (upstream's `pkg/registry/batch/job/strategy.go`)."""

from __future__ import annotations

from tiphys.api.resource import Object

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID = "controller-uid"
LEGACY_JOB_NAME = "job-name"


def job(new: Object, old: Object | None) -> None:
    spec, metadata = new["spec"], new["metadata"]
    if old is None and not spec.get("manualSelector"):
        _generate_selector(spec, metadata)
    labels = spec["template"]["metadata"].get("labels")
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)


def _generate_selector(spec: Object, metadata: Object) -> None:
    """Labels that no other job's pods have, and a selector of one of them. A wrong label of the client's own stays:
    validation says so."""
    name, uid = metadata.get("name", ""), metadata.get("uid", "")
    generated = {
        LEGACY_JOB_NAME: name,
        JOB_NAME: name,
        LEGACY_CONTROLLER_UID: uid,
        CONTROLLER_UID: uid,
    }
    template = spec["template"]["metadata"]
    template["labels"] = {**generated, **(template.get("labels") or {})}
    selector = spec.get("selector") or {}
    spec["selector"] = {
        **selector,
        "matchLabels": {CONTROLLER_UID: uid, **(selector.get("matchLabels") or {})},
    }
