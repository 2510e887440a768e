"""What is wrong with a CustomResourceDefinition: names, versions, conversion, columns.

Upstream's rules (apiextensions-apiserver `pkg/apis/apiextensions/validation`). What they say of schemas is in
`machinery/structural`.
"""

from __future__ import annotations

from tiphys.api.admissionregistration.webhook_validation import client_config
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, immutable, one_of, required_one_of
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of
from tiphys.machinery.meta import is_condition_true
from tiphys.machinery.meta import name as name_of

APPROVED = "api-approved.kubernetes.io"
_SPEC = Path("spec")
_NAMES = _SPEC.child("names")
_VERSIONS = _SPEC.child("versions")
_STORED = Path("status", "storedVersions")
_PROTECTED_GROUPS = ("k8s.io", "kubernetes.io")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_DEPRECATION_WARNING_LIMIT_BYTES = 256
_BADLY_APPROVED = (
    f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason starting with '
    '"unapproved", see https://github.com/kubernetes/enhancements/pull/1111'
)
_NOT_APPROVED = (
    f'protected groups must have approval annotation "{APPROVED}", '
    "see https://github.com/kubernetes/enhancements/pull/1111"
)


def custom_resource_definition(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _name(new, spec)
    errors += _group(spec.get("group") or "")
    errors += required_one_of(spec.get("scope"), ("Cluster", "Namespaced"), _SPEC.child("scope"))
    errors += _versions(spec.get("versions") or [])
    errors += _schemas(spec, None if old is None else old.get("spec") or {})
    errors += _names(spec.get("names") or {}, _NAMES)
    if spec.get("preserveUnknownFields") and (spec.get("conversion") or {}).get("strategy") == "Webhook":
        detail = "must be None if spec.preserveUnknownFields is true"
        errors.append(FieldError.invalid(_SPEC.child("conversion", "strategy"), "Webhook", detail))
    errors += _conversion(
        spec.get("conversion") or {},
        _SPEC.child("conversion"),
        None if old is None else (old.get("spec") or {}).get("conversion"),
    )
    if spec.get("preserveUnknownFields"):
        here = _SPEC.child("preserveUnknownFields")
        detail = "must be set to false in order to create or update custom resource definitions"
        if old is None or not (old.get("spec") or {}).get("preserveUnknownFields"):
            errors.append(FieldError.invalid(here, True, detail))
    errors += _stored_versions(new, spec)
    errors += _approval(new, spec, old)
    return errors if old is None else errors + _update(new, old)


def _name(obj: Object, spec: Object) -> Errors:
    required = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
    if name_of(obj) == required:
        return []
    detail = 'must be spec.names.plural+"."+spec.group'
    return [FieldError.invalid(Path("metadata", "name"), name_of(obj), detail)]


def _group(group: str) -> Errors:
    here = _SPEC.child("group")
    if not group:
        return [FieldError.required(here)]
    if faults := names.dns1123_subdomain(group):
        return [FieldError.invalid(here, group, ",".join(faults))]
    if "." not in group:
        return [FieldError.invalid(here, group, "should be a domain with at least one dot")]
    return []


def is_protected(group: str) -> bool:
    """A group of Kubernetes' own."""
    return any(group == each or group.endswith(f".{each}") for each in _PROTECTED_GROUPS)


def not_approved(value: str) -> str:
    """What is wrong with the annotation that says where a kind of a protected group was approved; ""."""
    if not value:
        return _NOT_APPROVED
    if value.startswith("unapproved") or "://" in value:
        return ""
    return _BADLY_APPROVED


def _approval(new: Object, spec: Object, old: Object | None) -> Errors:
    if not is_protected(spec.get("group") or "") or old is not None:
        return []
    here, value = Path("metadata", "annotations").key(APPROVED), annotations_of(new).get(APPROVED, "")
    problem = not_approved(value)
    if not problem:
        return []
    return [FieldError.invalid(here, value, problem) if value else FieldError.required(here, problem)]


# Versions


def _versions(versions: list[Object]) -> Errors:
    if not versions:
        return [
            FieldError.invalid(_VERSIONS, versions, "must have exactly one version marked as storage version")
        ]
    errors: Errors = []
    seen: set[str] = set()
    unique = True
    for position, version in enumerate(versions):
        here, name = _VERSIONS.index(position), version.get("name") or ""
        if faults := names.dns1035_label(name):
            errors.append(FieldError.invalid(here.child("name"), name, ",".join(faults)))
        unique = unique and name not in seen
        seen.add(name)
        errors += _deprecation(version, here)
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            errors.append(
                FieldError.required(here.child("schema", "openAPIV3Schema"), "schemas are required")
            )
    errors += _per_version(versions)
    if not unique:
        errors.append(FieldError.invalid(_VERSIONS, versions, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(FieldError.invalid(_VERSIONS, versions, detail))
    return errors


def _per_version(versions: list[Object]) -> Errors:
    """What upstream moves to the top when all versions have the same, and complains of there."""
    errors: Errors = []
    for field, check in (
        ("subresources", _subresources),
        ("additionalPrinterColumns", _columns),
        ("selectableFields", _selectable),
    ):
        wanted = [version.get(field) for version in versions]
        if all(each == wanted[0] for each in wanted):
            errors += check(versions[0], _SPEC.child(field))
            continue
        for position, version in enumerate(versions):
            errors += check(version, _VERSIONS.index(position).child(field))
    return errors


def _subresources(version: Object, path: Path) -> Errors:
    scale = (version.get("subresources") or {}).get("scale")
    return [] if scale is None else _scale(scale, path.child("scale"))


def _columns(version: Object, path: Path) -> Errors:
    errors: Errors = []
    for position, column in enumerate(version.get("additionalPrinterColumns") or ()):
        errors += _column(column, path.index(position))
    return errors


def _selectable(version: Object, path: Path) -> Errors:
    fields, schema = version.get("selectableFields"), (version.get("schema") or {}).get("openAPIV3Schema")
    if not fields or schema is None:
        return []
    from tiphys.machinery.structural import selectable_errors

    return selectable_errors(fields, schema, path)


def _schemas(spec: Object, old_spec: Object | None) -> Errors:
    # Imported when a definition is written: compilers of schemas and rules are much to load.
    from tiphys.api.types import TYPES
    from tiphys.machinery.structural import schema_errors

    return schema_errors(spec, old_spec, object_meta=TYPES.struct("meta/v1.ObjectMeta"))


def _deprecation(version: Object, path: Path) -> Errors:
    warning, here = version.get("deprecationWarning"), path.child("deprecationWarning")
    if warning is None:
        return []
    if not version.get("deprecated"):
        return [FieldError.invalid(here, warning, "can only be set for deprecated versions")]
    faults = []
    if len(warning.encode()) > _DEPRECATION_WARNING_LIMIT_BYTES:
        faults.append(f"must be <= {_DEPRECATION_WARNING_LIMIT_BYTES} characters long")
    if not warning:
        faults.append("must not be an empty string")
    odd = next((place for place, character in enumerate(warning) if not character.isprintable()), None)
    if odd is not None:
        position = len(warning[:odd].encode())
        detail = f"non-printable character found at index {position}"
        faults.append(f"must only contain printable UTF-8 characters; {detail}")
    return [FieldError.invalid(here, warning, fault) for fault in faults]


def _column(column: Object, path: Path) -> Errors:
    errors: Errors = []
    if not column.get("name"):
        errors.append(FieldError.required(path.child("name")))
    kind = column.get("type") or ""
    listed = ",".join(_COLUMN_TYPES)
    if not kind:
        errors.append(FieldError.required(path.child("type"), f"must be one of {listed}"))
    elif kind not in _COLUMN_TYPES:
        errors.append(FieldError.invalid(path.child("type"), kind, f"must be one of {listed}"))
    form = column.get("format") or ""
    if form and form not in _COLUMN_FORMATS:
        detail = f"must be one of {','.join(_COLUMN_FORMATS)}"
        errors.append(FieldError.invalid(path.child("format"), form, detail))
    return errors + _json_path(column.get("jsonPath") or "", path.child("JSONPath"))


def _json_path(text: str, path: Path) -> Errors:
    if not text:
        return [FieldError.required(path)]
    if not text.startswith("."):
        return [FieldError.invalid(path, text, "must be a simple json path starting with .")]
    return []


def _scale(scale: Object, path: Path) -> Errors:
    errors: Errors = []
    for field, root in (
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ):
        text, here = scale.get(field) or "", path.child(field)
        if not text:
            errors.append(FieldError.required(here))
        elif not text.startswith("."):
            errors += _json_path(text, here)
        elif not text.startswith(root):
            detail = f"should be a json path under {root[:-1]}"
            errors.append(FieldError.invalid(here, text, detail))
    text, here = scale.get("labelSelectorPath"), path.child("labelSelectorPath")
    if text and not text.startswith("."):
        errors += _json_path(text, here)
    elif text and not text.startswith((".spec.", ".status.")):
        detail = "should be a json path under either .spec or .status"
        errors.append(FieldError.invalid(here, text, detail))
    return errors


# Names


def _names(wanted: Object, path: Path) -> Errors:
    plural, singular, kind = (wanted.get(field) or "" for field in ("plural", "singular", "kind"))
    required = ("plural", "singular", "kind", "listKind")
    errors = [FieldError.required(path.child(field)) for field in required if not wanted.get(field)]
    errors += _label(plural, path.child("plural")) if plural else []
    errors += _label(singular, path.child("singular")) if singular else []
    for field, value in (("kind", kind), ("listKind", wanted.get("listKind") or "")):
        faults = names.dns1035_label(value.lower()) if value else []
        if faults:
            detail = f"may have mixed case, but should otherwise match: {','.join(faults)}"
            errors.append(FieldError.invalid(path.child(field), value, detail))
    for position, value in enumerate(wanted.get("shortNames") or ()):
        errors += _label(value, path.child("shortNames").index(position))
    if kind and kind == wanted.get("listKind"):
        detail = "kind and listKind may not be the same"
        errors.append(FieldError.invalid(path.child("listKind"), kind, detail))
    for position, value in enumerate(wanted.get("categories") or ()):
        errors += _label(value, path.child("categories").index(position))
    return errors


def _label(value: str, path: Path) -> Errors:
    faults = names.dns1035_label(value)
    return [FieldError.invalid(path, value, ",".join(faults))] if faults else []


# Conversion


def _conversion(conversion: Object, path: Path, old: Object | None) -> Errors:
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook")
    if not strategy:
        return [FieldError.required(path.child("strategy"))]
    errors = one_of(strategy, ("None", "Webhook"), path.child("strategy"))
    # Upstream validates its internal form, which has the fields of the webhook at this level.
    config, here = (webhook or {}).get("clientConfig"), path.child("webhookClientConfig")
    reviews, place = (webhook or {}).get("conversionReviewVersions"), path.child("conversionReviewVersions")
    if strategy != "Webhook":
        detail = "should not be set when strategy is not set to Webhook"
        unwanted = [each for each, value in ((here, config), (place, reviews)) if value]
        return errors + [FieldError.forbidden(each, detail) for each in unwanted]
    if config is None:
        detail = "required when strategy is set to Webhook"
        errors.append(FieldError.required(here, detail))
    else:
        errors += client_config(config, here)
    known = old is None or not _reviews(old) or not set(_REVIEW_VERSIONS).isdisjoint(_reviews(old))
    return errors + _review_versions(reviews or [], place, known_is_required=known)


def _reviews(conversion: Object) -> list[str]:
    return (conversion.get("webhook") or {}).get("conversionReviewVersions") or []


def _review_versions(versions: list[str], path: Path, *, known_is_required: bool) -> Errors:
    if not versions:
        return [FieldError.required(path)]
    errors: Errors = []
    seen: set[str] = set()
    for position, version in enumerate(versions):
        if version in seen:
            errors.append(FieldError.invalid(path.index(position), version, "duplicate version"))
            continue
        seen.add(version)
        errors += by_rule(names.dns1035_label, version, path.index(position))
    if known_is_required and seen.isdisjoint(_REVIEW_VERSIONS):
        detail = f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"
        errors.append(FieldError.invalid(path, versions, detail))
    return errors


# Status and updates


def _stored_versions(new: Object, spec: Object) -> Errors:
    """Objects may lie in the store in any of these: none may be forgotten, and none may be unknown."""
    stored = (new.get("status") or {}).get("storedVersions") or []
    if not stored:
        return [FieldError.invalid(_STORED, stored, "must have at least one stored version")]
    versions = {each.get("name"): each for each in spec.get("versions") or ()}
    errors: Errors = []
    current = next((name for name, each in versions.items() if each.get("storage")), None)
    if current is not None and current not in stored:
        errors.append(FieldError.invalid(_STORED, stored, f"must have the storage version {current}"))
    for position, name in enumerate(stored):
        if name not in versions:
            detail = "missing from spec.versions; " + (
                f"{name} was previously a storage version, and must remain in spec.versions until a storage "
                "migration ensures no data remains persisted in "
                f"{name} and removes {name} from status.storedVersions"
            )
            errors.append(FieldError.invalid(_STORED.index(position), name, detail))
    return errors


def _update(new: Object, old: Object) -> Errors:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = immutable(spec.get("group"), before.get("group"), _SPEC.child("group"))
    wanted, had = spec.get("names") or {}, before.get("names") or {}
    if is_condition_true((old.get("status") or {}).get("conditions"), "Established"):
        errors += immutable(spec.get("scope"), before.get("scope"), _SPEC.child("scope"))
        errors += immutable(wanted.get("kind"), had.get("kind"), _NAMES.child("kind"))
    return errors + immutable(wanted.get("plural"), had.get("plural"), _NAMES.child("plural"))


def status(new: Object, old: Object | None) -> Errors:
    return _stored_versions(new, new.get("spec") or {})
