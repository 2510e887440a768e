"""What is wrong with webhooks (`pkg/apis/admissionregistration/validation`)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from tiphys.api.admissionregistration.expressions import condition_problem
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, label_selector, one_of
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_VERSIONS = ("v1", "v1beta1")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_CONDITIONS_LIMIT = 64


def validating_configuration(new: Object, old: Object | None) -> Errors:
    return _configuration(new, old, lambda webhook, path: [])


def mutating_configuration(new: Object, old: Object | None) -> Errors:
    def again(webhook: Object, path: Path) -> Errors:
        policy, here = webhook.get("reinvocationPolicy"), path.child("reinvocationPolicy")
        return [] if policy is None else one_of(policy, ("IfNeeded", "Never"), here)

    return _configuration(new, old, again)


def _configuration(new: Object, old: Object | None, extra: Callable[[Object, Path], Errors]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    known = [_conditions(webhook) for webhook in (old or {}).get("webhooks") or ()]
    unchanged = known == [_conditions(webhook) for webhook in new.get("webhooks") or ()]
    for position, webhook in enumerate(new.get("webhooks") or ()):
        here, name = Path("webhooks").index(position), webhook.get("name") or ""
        errors += _webhook(webhook, here) + extra(webhook, here)
        if not unchanged:  # what was accepted once is not judged again
            errors += match_conditions(_conditions(webhook), here.child("matchConditions"))
        errors += _review_versions(
            webhook.get("admissionReviewVersions") or [], here.child("admissionReviewVersions")
        )
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        seen.add(name)
    return errors


def _conditions(webhook: Object) -> list[Object]:
    return webhook.get("matchConditions") or []


def _webhook(webhook: Object, path: Path) -> Errors:
    errors = _full_name(webhook.get("name") or "", path.child("name"))
    for position, rule in enumerate(webhook.get("rules") or ()):
        errors += rule_with_operations(rule, path.child("rules").index(position))
    errors += optional(webhook, "failurePolicy", FAILURE_POLICIES, path)
    errors += optional(webhook, "matchPolicy", MATCH_POLICIES, path)
    effects, here = webhook.get("sideEffects"), path.child("sideEffects")
    if not effects:
        errors.append(FieldError.required(here, "must specify one of None, NoneOnDryRun"))
    else:
        errors += one_of(effects, _SIDE_EFFECTS, here)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        errors.append(FieldError.invalid(path.child("timeoutSeconds"), seconds, detail))
    for field in ("namespaceSelector", "objectSelector"):
        errors += label_selector(webhook.get(field), path.child(field))
    return errors + client_config(webhook.get("clientConfig") or {}, path.child("clientConfig"))


def optional(holder: Object, field: str, allowed: tuple[str, ...], path: Path) -> Errors:
    value = holder.get(field)
    return [] if value is None else one_of(value, allowed, path.child(field))


def _full_name(name: str, path: Path) -> Errors:
    if not name:
        return [FieldError.required(path)]
    if faults := names.dns1123_subdomain(name):
        return [FieldError.invalid(path, name, ",".join(faults))]
    if name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        return [FieldError.invalid(path, name, detail)]
    return []


def _review_versions(versions: list[str], path: Path) -> Errors:
    if not versions:
        return [FieldError.required(path, f"must specify one of {', '.join(_VERSIONS)}")]
    errors: Errors = []
    for position, version in enumerate(versions):
        if versions.index(version) < position:
            errors.append(FieldError.invalid(path.index(position), version, "duplicate version"))
            continue
        errors += [
            FieldError.invalid(path.index(position), version, message)
            for message in names.dns1035_label(version)
        ]
    if not set(_VERSIONS) & set(versions):
        detail = f"must include at least one of {', '.join(_VERSIONS)}"
        errors.append(FieldError.invalid(path, versions, detail))
    return errors


# Rules


def rule_with_operations(rule: Object, path: Path) -> Errors:
    operations, here = rule.get("operations") or [], path.child("operations")
    errors = [] if operations else [FieldError.required(here)]
    if len(operations) > 1 and "*" in operations:
        detail = "if '*' is present, must not specify other operations"
        errors.append(FieldError.invalid(here, operations, detail))
    for position, operation in enumerate(operations):
        errors += one_of(operation, _OPERATIONS, here.index(position))
    errors += _alone(rule, "apiGroups", "API groups", path)
    errors += _alone(rule, "apiVersions", "API versions", path)
    for position, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            errors.append(FieldError.required(path.child("apiVersions").index(position)))
    errors += _resources(rule.get("resources") or [], path.child("resources"))
    return errors + optional(rule, "scope", _SCOPES, path)


def _alone(rule: Object, field: str, noun: str, path: Path) -> Errors:
    values, here = rule.get(field) or [], path.child(field)
    if not values:
        return [FieldError.required(here)]
    if len(values) > 1 and "*" in values:
        return [FieldError.invalid(here, values, f"if '*' is present, must not specify other {noun}")]
    return []


def _resources(resources: list[str], path: Path) -> Errors:
    """`pods`, `pods/status`, `pods/*`, `*/scale`, `*` and `*/*`; none of them may say again what another says."""
    if not resources:
        return [FieldError.required(path)]
    errors: Errors = []
    whole = {each.removesuffix("/*") for each in resources if each.endswith("/*")}
    every = {each.removeprefix("*/") for each in resources if each.startswith("*/")}
    for position, resource in enumerate(resources):
        here = path.index(position)
        if not resource:
            errors.append(FieldError.required(here))
            continue
        name, slash, sub = resource.partition("/")
        if resource == "*/*":
            continue
        if name in whole and sub != "*" and slash:
            errors.append(
                FieldError.invalid(here, resource, f"if '{name}/*' is present, must not specify {resource}")
            )
        if slash and sub in every and name != "*":
            errors.append(
                FieldError.invalid(here, resource, f"if '*/{sub}' is present, must not specify {resource}")
            )
    if "*/*" in resources and len(resources) > 1:
        detail = "if '*/*' is present, must not specify other resources"
        errors.append(FieldError.invalid(path, resources, detail))
    if "*" in resources and any("/" not in each for each in resources if each != "*"):
        detail = "if '*' is present, must not specify other resources without subresources"
        errors.append(FieldError.invalid(path, resources, detail))
    return errors


def match_conditions(conditions: list[Object], path: Path, *, params: bool = False) -> Errors:
    """`params`: they may speak of parameters."""
    errors: Errors = []
    if len(conditions) > _CONDITIONS_LIMIT:
        errors.append(FieldError.too_many(path, len(conditions), _CONDITIONS_LIMIT))
    seen: set[str] = set()
    for position, condition in enumerate(conditions):
        here, name = path.index(position), condition.get("name") or ""
        expression = (condition.get("expression") or "").strip()
        if not expression:
            errors.append(FieldError.required(here.child("expression")))
        elif problem := condition_problem(expression, params=params):
            errors.append(FieldError.invalid(here.child("expression"), expression, problem))
        if not name:
            errors.append(FieldError.required(here.child("name")))
            continue
        errors += [FieldError.invalid(here, condition, text) for text in names.qualified_name(name)]
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        seen.add(name)
    return errors


# Where the webhook is


def client_config(config: Object, path: Path) -> Errors:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [FieldError.required(path, "exactly one of url or service is required")]
    return _url(url, path.child("url")) if url is not None else _service(service or {}, path.child("service"))


def _url(url: str, path: Path) -> Errors:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
        host = parts.netloc
    except ValueError as error:
        return [FieldError.required(path, f"url must be a valid URL: {error}{form}")]
    errors: Errors = []
    if parts.scheme != "https":
        detail = f'"https" is the only allowed URL scheme{form}'
        errors.append(FieldError.invalid(path, parts.scheme, detail))
    if not host:
        errors.append(FieldError.invalid(path, host, f"host must be specified{form}"))
    if "@" in host:
        user = host.rpartition("@")[0]
        errors.append(FieldError.invalid(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        errors.append(FieldError.invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        errors.append(FieldError.invalid(path, parts.query, "query parameters are not permitted in the URL"))
    return errors


def _service(service: Object, path: Path) -> Errors:
    errors: Errors = []
    for field in ("name", "namespace"):
        if not service.get(field):
            errors.append(FieldError.required(path.child(field), f"service {field} is required"))
    port = service.get("port")
    if port is not None and names.port_number(port):
        detail = f"port is not valid: {names.port_number(port)[0]}"
        errors.append(FieldError.invalid(path.child("port"), port, detail))
    return (
        errors if service.get("path") is None else errors + _service_path(service["path"], path.child("path"))
    )


def _service_path(text: str, path: Path) -> Errors:
    if text in ("", "/"):
        return []
    if text == "//":
        return [FieldError.invalid(path, text, "segment[0] may not be empty")]
    errors: Errors = []
    if not text.startswith("/"):
        errors.append(FieldError.invalid(path, text, "must start with a '/'"))
    for position, step in enumerate(text.removeprefix("/").removesuffix("/").split("/")):
        if not step:
            errors.append(FieldError.invalid(path, text, f"segment[{position}] may not be empty"))
            continue
        errors += [
            FieldError.invalid(path, text, f"segment[{position}]: {message}")
            for message in names.dns1123_subdomain(step)
        ]
    return errors
