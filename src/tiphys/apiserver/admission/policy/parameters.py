"""The parameters of a binding: objects of any kind, by name or by labels (`policy/generic/policy_dispatcher.go`, CollectParams)."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.registry.translation import translate, translate_one
from tiphys.apiserver.registry.versions import convert_from_stored
from tiphys.machinery.gvk import GroupVersionKind, parse_api_version
from tiphys.machinery.selectors import label_selector_from_dict

NO_PARAMETERS: tuple[Object | None, ...] = (None,)
"""A policy without them is evaluated once, with none."""


class ConfigurationError(Exception):
    """A policy or binding cannot be used as it is; its failurePolicy says what that means."""


def param_row(scheme: Scheme, kind: Object | None) -> Resource | None:
    """The row of a policy's paramKind; None when it takes none. Raises ConfigurationError."""
    if kind is None:
        return None
    try:
        group, version = parse_api_version(kind.get("apiVersion") or "")
    except ValueError as error:
        raise ConfigurationError(f"failed to parse paramKind APIVersion: {error}") from None
    named = GroupVersionKind(group, version, kind.get("kind") or "")
    row = scheme.by_kind(named)
    if row is None or row.virtual:
        raise ConfigurationError(f"failed to find resource referenced by paramKind: '{named}'")
    return row


async def parameters(
    attributes: Attributes, row: Resource | None, reference: Object | None, namespace: str
) -> tuple[Object | None, ...]:
    """What to evaluate with, one after another; empty when there is nothing and that is fine. Raises ConfigurationError."""
    if row is None or reference is None:
        return NO_PARAMETERS
    within = _namespace(row, reference, namespace)
    found = await _find(attributes, row, reference, within)
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found


def _namespace(row: Resource, reference: Object, namespace: str) -> str:
    wanted: str = reference.get("namespace") or ""
    if not row.namespaced:
        if wanted:
            raise ConfigurationError(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            )
        return ""
    if not wanted and not namespace:
        raise ConfigurationError(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    return wanted or namespace


async def _find(
    attributes: Attributes, row: Resource, reference: Object, namespace: str
) -> tuple[Object | None, ...]:
    stored = attributes.call.server.scheme.stored_row(row)
    cache = attributes.objects.cache(stored.group, stored.plural)
    if reference.get("name"):
        record = cache.get(namespace, reference["name"])
        records = [record] if record is not None else []
    else:
        selector = label_selector_from_dict(reference.get("selector") or {})
        records = [each for each in cache.page(namespace)[0] if selector.matches(each.labels)]
    if row.reading is None:
        return tuple(convert_from_stored(row, record.object) for record in records)
    if len(records) == 1:
        return ((await translate_one(row, records[0])).object,)
    return tuple(record.object for record in await translate(row, records))


def identity(parameter: Any) -> tuple[str, str]:
    """By which it is known whether a policy was called with the same ones before."""
    metadata = (parameter or {}).get("metadata") or {}
    return metadata.get("namespace", ""), metadata.get("name", "")
