"""PodSecurity: holds pods to the Pod Security Standard that their namespace's labels ask for.

Pods are refused (`enforce`); pods, and what makes pods of a template, are warned of (`warn`) and noted in the audit log (`audit`).
Who tightens a namespace is told which of its pods would no longer be let in. Words are upstream's `pod-security-admission/admission`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.admission.configuration import Configuration
from tiphys.apiserver.admission.pod_security.checks import Pod, Violation
from tiphys.apiserver.admission.pod_security.configuration import read_configuration
from tiphys.apiserver.admission.pod_security.policy import (
    LEVELS,
    MODES,
    PREFIX,
    LevelVersion,
    Policy,
    policy_of,
)
from tiphys.apiserver.admission.pod_security.standards import details, reasons, violations
from tiphys.apiserver.records import Record
from tiphys.machinery import errors, meta
from tiphys.machinery.fields import aggregate
from tiphys.machinery.quoting import quote

PODS_LOOKED_AT = 3000
SECONDS_TO_LOOK = 1.0
KNOWN_LIMIT = 1000
_TEMPLATES = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
TEMPLATED = tuple(f"{plural}.{group}" if group else plural for group, plural in _TEMPLATES)
_OTHER_SUBRESOURCES = frozenset(
    ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"]
)


class PodSecurity:
    name = "PodSecurity"

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._configured = read_configuration(configuration)
        self._known: dict[str, tuple[Record, tuple[Policy, list[errors.FieldError]]]] = {}
        """The policies of namespaces as they were when they were last asked about."""

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        if attributes.operation not in (CREATE, UPDATE):
            return False
        row = attributes.row
        if row.group == "" and row.plural == "pods":
            return attributes.subresource not in _OTHER_SUBRESOURCES
        return not attributes.subresource

    def validate(self, attributes: Attributes) -> None:
        row = attributes.row
        if row.group == "" and row.plural == "pods":
            self._pod(attributes)
        elif row.group == "" and row.plural == "namespaces":
            self._namespace(attributes)
        elif (row.group, row.plural) in _TEMPLATES:
            self._template(attributes, _TEMPLATES[row.group, row.plural])

    # Pods, and what has templates of them

    def _pod(self, attributes: Attributes) -> None:
        if self._is_exempt(attributes):
            return
        policy, bad_labels = self._policy(attributes)
        counted = attributes.call.server.pod_security_metrics
        if policy.is_privileged and not bad_labels:
            counted.evaluated(attributes, policy.enforce, "enforce", denied=False)
            if attributes.call.audit is not None:
                _annotate(attributes, "enforce-policy", str(policy.enforce))
            return
        pod = attributes.object
        assert pod is not None
        if attributes.operation == UPDATE and not _matters(pod, attributes.old or {}):
            return
        if self._is_exempt_class(attributes, pod["spec"]):
            return
        if bad_labels:
            _report_labels(attributes, bad_labels)
        _Evaluation(attributes, policy, Pod(pod["metadata"], pod["spec"])).enforce()

    def _template(self, attributes: Attributes, path: Sequence[str]) -> None:
        if self._is_exempt(attributes):
            return
        policy, bad_labels = self._policy(attributes)
        if policy.audit.is_privileged and policy.warn.is_privileged and not bad_labels:
            return
        template: Any = attributes.object
        for field in path:
            template = (template or {}).get(field)
        if not template:
            return
        spec = template.get("spec") or {}
        if self._is_exempt_class(attributes, spec):
            return
        if bad_labels:
            _report_labels(attributes, bad_labels)
        _Evaluation(attributes, policy, Pod(template.get("metadata") or {}, spec)).tell()

    def _policy(self, attributes: Attributes) -> tuple[Policy, list[errors.FieldError]]:
        record = attributes.objects.cache("", "namespaces").get("", attributes.namespace)
        if record is None:
            attributes.call.server.pod_security_metrics.failed(attributes, fatal=True)
            raise errors.internal_error(f"failed to lookup namespace {quote(attributes.namespace)}")
        known = self._known.get(attributes.namespace)
        if known is None or known[0] is not record:
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            found = policy_of(meta.labels(record.object), self._configured.defaults)
            known = self._known[attributes.namespace] = record, found
        return known[1]

    def _is_exempt(self, attributes: Attributes) -> bool:
        if attributes.namespace in self._configured.namespaces:
            return _exempted(attributes, "namespace")
        if attributes.user.name in self._configured.usernames:
            return _exempted(attributes, "user")
        return False

    def _is_exempt_class(self, attributes: Attributes, spec: Object) -> bool:
        if spec.get("runtimeClassName") not in self._configured.runtime_classes:
            return False
        return _exempted(attributes, "runtimeClass")

    # Namespaces

    def _namespace(self, attributes: Attributes) -> None:
        namespace = attributes.object
        assert namespace is not None
        defaults = self._configured.defaults
        policy, bad_labels = policy_of(meta.labels(namespace), defaults)
        before, were_bad = Policy(), list[errors.FieldError]()
        if attributes.old is not None:
            before, were_bad = policy_of(meta.labels(attributes.old), defaults)
        if bad_labels and bad_labels != were_bad:
            raise errors.invalid(attributes.row.group_kind, attributes.name, bad_labels)
        if attributes.old is not None and not _is_stricter(policy.enforce, before.enforce):
            return
        name = meta.name(namespace)
        if name in self._configured.namespaces:
            if not policy.is_privileged and not policy.equals(defaults):
                attributes.call.warn(_ignored(name, policy, namespace))
        elif attributes.old is not None:
            for warning in self._warnings(attributes, name, policy.enforce):
                attributes.call.warn(warning)

    def _warnings(self, attributes: Attributes, namespace: str, enforce: LevelVersion) -> Iterator[str]:
        """What the pods that are there already break; those who break the same are told of together."""
        clock = attributes.call.server.clock
        deadline = clock.monotonic() + SECONDS_TO_LOOK
        pods = self._in_order(attributes, namespace)
        broken: dict[str, list[str]] = {}
        looked_at = 0
        for pod in pods[:PODS_LOOKED_AT]:
            looked_at += 1
            found = violations(enforce, Pod(pod["metadata"], pod["spec"]))
            if found:
                broken.setdefault(reasons(found), []).append(meta.name(pod))
            if clock.monotonic() > deadline:
                break
        if looked_at < len(pods):
            yield f"new PodSecurity enforce level only checked against the first {looked_at} of {len(pods)} existing pods"
        if broken:
            yield (
                f"existing pods in namespace {quote(namespace)} violate "
                f"the new PodSecurity enforce level {quote(str(enforce))}"
            )
        yield from sorted(f"{_first_of(names)}: {reason}" for reason, names in broken.items())

    def _in_order(self, attributes: Attributes, namespace: str) -> list[Object]:
        """One pod of each owner before its others, which are likely the same."""
        first: list[Object] = []
        others: list[Object] = []
        owners: set[str] = set()
        for record in attributes.objects.cache("", "pods").page(namespace)[0]:
            pod = record.object
            if pod["spec"].get("runtimeClassName") in self._configured.runtime_classes:
                continue
            owner = (meta.controller_of(pod) or {}).get("uid", "")
            (others if owner in owners else first).append(pod)
            if owner:
                owners.add(owner)
        return first + others


class _Evaluation:
    """One pod against what a namespace asks, each level looked at once."""

    def __init__(self, attributes: Attributes, policy: Policy, pod: Pod) -> None:
        self._attributes = attributes
        self._policy = policy
        self._pod = pod
        self._seen: dict[LevelVersion, list[Violation]] = {}
        self._counted = attributes.call.server.pod_security_metrics

    def _violations(self, mode: str) -> list[Violation]:
        asked = self._policy.mode(mode)
        found = self._seen.get(asked)
        if found is None:
            found = self._seen[asked] = violations(asked, self._pod)
        if found or mode == "enforce":
            self._counted.evaluated(self._attributes, asked, mode, denied=bool(found))
        return found

    def enforce(self) -> None:
        """Raises 403; what is let in is told of as templates are."""
        asked = self._policy.enforce
        _annotate(self._attributes, "enforce-policy", str(asked))
        found = self._violations("enforce")
        if found:
            self._audit()
            cause = f"violates PodSecurity {quote(str(asked))}: {details(found)}"
            raise self._attributes.forbidden(cause)
        self.tell()

    def tell(self) -> None:
        self._audit()
        found = self._violations("warn")
        if found:
            self._attributes.call.warn(_would_violate(self._policy.warn, found))

    def _audit(self) -> None:
        found = self._violations("audit")
        if found:
            _annotate(self._attributes, "audit-violations", _would_violate(self._policy.audit, found))


def _would_violate(asked: LevelVersion, found: list[Violation]) -> str:
    return f"would violate PodSecurity {quote(str(asked))}: {details(found)}"


def _annotate(attributes: Attributes, key: str, text: str) -> None:
    attributes.call.annotate(PREFIX + key, text)


def _exempted(attributes: Attributes, why: str) -> bool:
    attributes.call.server.pod_security_metrics.exempted(attributes)
    _annotate(attributes, "exempt", why)
    return True


def _report_labels(attributes: Attributes, bad_labels: list[errors.FieldError]) -> None:
    _annotate(attributes, "error", f"Failed to parse policy: {aggregate(bad_labels)}")
    attributes.call.server.pod_security_metrics.failed(attributes, fatal=False)


def _matters(pod: Object, old: Object) -> bool:
    """Whether an update touches what a rule looks at: of all that may change in a pod only its images, and new containers."""
    spec, before = pod["spec"], old.get("spec") or {}
    for field in ("containers", "initContainers"):
        now, then = spec.get(field) or (), before.get(field) or ()
        if [each.get("image") for each in now] != [each.get("image") for each in then]:
            return True
    images = {each.get("name"): each.get("image") for each in before.get("ephemeralContainers") or ()}
    return any(
        each.get("name") not in images or images[each.get("name")] != each.get("image")
        for each in spec.get("ephemeralContainers") or ()
    )


def _is_stricter(new: LevelVersion, old: LevelVersion) -> bool:
    """Whether pods may break `new` that `old` let in. Another version may be either."""
    if new == old or new.is_privileged:
        return False
    return new.version != old.version or LEVELS.index(new.level) > LEVELS.index(old.level)


def _ignored(name: str, policy: Policy, namespace: Object) -> str:
    labels = meta.labels(namespace)
    asked = ", ".join(
        f"{mode}={policy.mode(mode)}"
        for mode in MODES
        if not policy.mode(mode).is_privileged and {PREFIX + mode, f"{PREFIX}{mode}-version"} & labels.keys()
    )
    return f"namespace {quote(name)} is exempt from Pod Security, and the policy ({asked}) will be ignored"


def _first_of(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return names[0]
    return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''})"
