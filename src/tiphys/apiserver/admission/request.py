"""The AdmissionRequest: what webhooks and expressions are told of a request (admission.k8s.io/v1)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, DELETE, UPDATE, Attributes
from tiphys.apiserver.admission.matching import Match
from tiphys.machinery.gvk import GroupVersionKind, GroupVersionResource

_OPTIONS = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions"}


def admission_request(attributes: Attributes, match: Match) -> Object:
    """The request as one sees it who asked for `match`: all but uid, object and oldObject."""
    request: Object = {"kind": _kind(match.kind), "resource": _resource(match.row.gvr)}
    if attributes.subresource:
        request["subResource"] = attributes.subresource
    request["requestKind"] = _kind(attributes.kind)
    request["requestResource"] = _resource(attributes.row.gvr)
    if attributes.subresource:
        request["requestSubResource"] = attributes.subresource
    if attributes.name and attributes.call.info.verb != "deletecollection":
        request["name"] = attributes.name
    if namespace := namespace_of(attributes):
        request["namespace"] = namespace
    request["operation"] = attributes.operation
    request["userInfo"] = attributes.user.to_dict()
    request["dryRun"] = attributes.dry_run
    request["options"] = operation_options(attributes)
    return request


def namespace_of(attributes: Attributes) -> str:
    """The namespace that a request is about; of a Namespace, itself."""
    if attributes.row.plural == "namespaces" and not attributes.row.group:
        return attributes.name
    return attributes.namespace


def operation_options(attributes: Attributes) -> Object | None:
    """CreateOptions, UpdateOptions (of patches too) or DeleteOptions; a connection has none."""
    kind = _OPTIONS.get(attributes.operation)
    if kind is None:
        return None
    options: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if attributes.operation == DELETE:
        return {**options, **(attributes.options or {})}
    query = attributes.call.request.query
    if query.get("dryRun"):
        options["dryRun"] = query["dryRun"]
    for name in ("fieldManager", "fieldValidation"):
        if query.get(name, ("",))[0]:
            options[name] = query[name][0]
    return options


def _kind(kind: GroupVersionKind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource(resource: GroupVersionResource) -> Object:
    return {"group": resource.group, "version": resource.version, "resource": resource.resource}
