"""Defaults of webhooks and admission policies (`pkg/apis/admissionregistration/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object

TIMEOUT_SECONDS = 10
WEBHOOK_PORT = 443


def validating_webhooks(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)


def mutating_webhooks(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)
        fill(webhook, reinvocationPolicy="Never")


def _webhook(webhook: Object) -> None:
    fill(webhook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=TIMEOUT_SECONDS)
    part(webhook, "namespaceSelector")
    part(webhook, "objectSelector")
    service = part(webhook, "clientConfig").get("service")
    if service is not None:
        fill(service, port=WEBHOOK_PORT)
    _rules(webhook.get("rules"))


def _rules(rules: list[Object] | None) -> None:
    for rule in rules or ():
        fill(rule, scope="*")


def _match_resources(resources: Object | None) -> None:
    if resources is None:
        return
    fill(resources, matchPolicy="Equivalent")
    part(resources, "namespaceSelector")
    part(resources, "objectSelector")
    _rules(resources.get("resourceRules"))
    _rules(resources.get("excludeResourceRules"))


def validating_policy(obj: Object) -> None:
    spec = part(obj, "spec")
    fill(spec, failurePolicy="Fail")
    _match_resources(spec.get("matchConstraints"))
    part(obj, "status")


def mutating_policy(obj: Object) -> None:
    spec = part(obj, "spec")
    fill(spec, failurePolicy="Fail")
    _match_resources(spec.get("matchConstraints"))


def binding(obj: Object) -> None:
    """Of a validating and of a mutating policy."""
    _match_resources(part(obj, "spec").get("matchResources"))
