"""PodTolerationRestriction: a namespace gives its pods tolerations, and says which ones they may have.

Both stand in annotations of the namespace, as JSON; without them, in the configuration.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.core.pod_resources import qos_class
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.admission.configuration import BadConfiguration, Configuration, expect
from tiphys.machinery import errors, meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource

DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_VERSIONS = ("podtolerationrestriction.admission.k8s.io/v1alpha1",)
_MEMORY_PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
_NAMESPACES = GroupResource("", "namespaces")
Toleration = dict[str, Any]


class PodTolerationRestriction:
    name = "PodTolerationRestriction"

    def __init__(self, configuration: Configuration | None = None) -> None:
        if configuration is not None:
            expect(configuration, "Configuration", _VERSIONS, ("default", "whitelist"))
        found = configuration or {}
        self._default, self._allowed = found.get("default") or [], found.get("whitelist") or []
        if not isinstance(self._default, list) or not isinstance(self._allowed, list):
            raise BadConfiguration("default and whitelist are lists of tolerations")

    def admit(self, attributes: Attributes) -> None:
        if not _concerns(attributes):
            return
        assert attributes.object is not None
        spec = attributes.object["spec"]
        extra: list[Toleration] = []
        if attributes.operation == CREATE:
            of_namespace = _annotated(attributes, DEFAULTS)
            extra = list(self._default if of_namespace is None else of_namespace)
        if qos_class(spec) != "BestEffort":
            extra.append(dict(_MEMORY_PRESSURE))
        if extra:
            spec["tolerations"] = merged([*(spec.get("tolerations") or ()), *extra])
        self.validate(attributes)

    def validate(self, attributes: Attributes) -> None:
        if not _concerns(attributes):
            return
        assert attributes.object is not None
        scope, allowed = "namespace", _annotated(attributes, ALLOWED)
        if allowed is None:
            scope, allowed = "cluster", self._allowed
        own = attributes.object["spec"].get("tolerations") or ()
        if allowed and not all(any(covers(wide, each) for wide in allowed) for each in own):
            message = (
                "pod tolerations (possibly merged with namespace default tolerations) "
                f"conflict with its {scope} allowlist"
            )
            raise StatusError(500, "", message)


def _concerns(attributes: Attributes) -> bool:
    return attributes.operation in (CREATE, UPDATE) and attributes.is_for("", "pods")


def _annotated(attributes: Attributes, key: str) -> list[Toleration] | None:
    """None: the namespace does not say."""
    record = attributes.objects.cache("", "namespaces").get("", attributes.namespace)
    if record is None:
        raise errors.not_found(_NAMESPACES, attributes.namespace)
    text = meta.annotations(record.object).get(key)
    if not text:
        return None if text is None else []
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise StatusError(500, "", f"{key} of namespace {attributes.namespace}: {error}") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise StatusError(500, "", f"{key} of namespace {attributes.namespace}: it is no list of tolerations")
    return found


def merged(tolerations: list[Toleration]) -> list[Toleration]:
    """Without those that another one covers; of equal ones the first stays."""
    kept: list[Toleration] = []
    for position, each in enumerate(tolerations):
        later = [other for other in tolerations[position + 1 :] if other != each]
        if not any(covers(other, each) for other in (*kept, *later)):
            kept.append(each)
    return kept


def covers(wide: Object, narrow: Object) -> bool:
    """Whether `wide` tolerates at least what `narrow` does."""
    if wide == narrow:
        return True
    operator = wide.get("operator", "")
    if narrow.get("key", "") != wide.get("key", "") and (wide.get("key") or operator != "Exists"):
        return False
    if wide.get("effect") and narrow.get("effect", "") != wide["effect"]:
        return False
    limit, seconds = wide.get("tolerationSeconds"), narrow.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and limit is not None and (seconds is None or seconds > limit):
        return False
    if operator in ("", "Equal"):
        return bool(narrow.get("operator") == "Equal" and narrow.get("value", "") == wide.get("value", ""))
    return bool(operator == "Exists")
