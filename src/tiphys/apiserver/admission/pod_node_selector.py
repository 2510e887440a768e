"""PodNodeSelector: the pods of a namespace run only on nodes with certain labels.

The labels stand in an annotation of the namespace; without it, in the configuration, which may also say to which labels the pods of a
namespace are limited at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.apiserver.admission.attributes import CREATE, Attributes
from tiphys.apiserver.admission.configuration import BadConfiguration, Configuration
from tiphys.machinery import errors, meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource
from tiphys.machinery.names import label_value, qualified_name

ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULT = "clusterDefaultNodeSelector"
_NAMESPACES = GroupResource("", "namespaces")


class PodNodeSelector:
    name = "PodNodeSelector"

    def __init__(self, configuration: Configuration | None = None) -> None:
        selectors = (configuration or {}).get("podNodeSelectorPluginConfig") or {}
        if not isinstance(selectors, Mapping):
            raise BadConfiguration("podNodeSelectorPluginConfig: it is no object")
        self._selectors: dict[str, dict[str, str]] = {}
        for namespace, selector in selectors.items():
            try:
                self._selectors[namespace] = parse(str(selector or ""))
            except ValueError as error:
                raise BadConfiguration(f"podNodeSelectorPluginConfig.{namespace}: {error}") from None

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for("", "pods"):
            return
        assert attributes.object is not None
        wanted = self._wanted(attributes)
        own = attributes.object["spec"].get("nodeSelector") or {}
        _refuse_conflict(attributes, wanted, own)
        if wanted:
            attributes.object["spec"]["nodeSelector"] = {**wanted, **own}
        self.validate(attributes)

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for("", "pods"):
            return
        assert attributes.object is not None
        own = attributes.object["spec"].get("nodeSelector") or {}
        _refuse_conflict(attributes, self._wanted(attributes), own)
        allowed = self._selectors.get(attributes.namespace)
        if allowed and any(allowed.get(key) != value for key, value in own.items()):
            raise attributes.forbidden("pod node label selector labels conflict with its namespace whitelist")

    def _wanted(self, attributes: Attributes) -> dict[str, str]:
        record = attributes.objects.cache("", "namespaces").get("", attributes.namespace)
        if record is None:
            raise errors.not_found(_NAMESPACES, attributes.namespace)
        text = meta.annotations(record.object).get(ANNOTATION)
        if text is None:
            return self._selectors.get(_DEFAULT, {})
        try:
            return parse(text)
        except ValueError as error:
            raise StatusError(500, "", str(error)) from None


def parse(selector: str) -> dict[str, str]:
    """ "a=b,c=d". Raises ValueError."""
    labels: dict[str, str] = {}
    for part in selector.split(",") if selector else ():
        pieces = part.split("=")
        if len(pieces) != 2:
            raise ValueError(f"invalid selector: [{' '.join(pieces)}]")
        key, value = pieces[0].strip(), pieces[1].strip()
        problems = qualified_name(key)
        if problems:
            raise ValueError(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        problems = label_value(value)
        if problems:
            raise ValueError(f'<nil>: Invalid value: "{value}": {"; ".join(problems)}')
        labels[key] = value
    return labels


def _refuse_conflict(attributes: Attributes, wanted: Mapping[str, str], own: Mapping[str, str]) -> None:
    if any(own.get(key, value) != value for key, value in wanted.items()):
        raise attributes.forbidden("pod node label selector conflicts with its namespace node label selector")
