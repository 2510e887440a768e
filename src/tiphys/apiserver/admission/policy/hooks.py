"""The policies in force: each with its bindings, compiled once a generation, found by what a request is about.

Follows the cache of policies and of bindings by being told. A write that no policy is for costs a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes, Objects
from tiphys.apiserver.admission.matching import Criteria, configures_admission
from tiphys.apiserver.cache import Event, ResourceCache
from tiphys.apiserver.records import Record
from tiphys.machinery.gvk import GroupResource

GROUP = "admissionregistration.k8s.io"
EXCLUDED = frozenset(
    GroupResource(group, resource)
    for group, resource in (
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    )
)
"""Who may do what is not for policies to decide (`pkg/kubeapiserver/admission/exclusion`)."""

Evaluator = TypeVar("Evaluator")


class Binding:
    """One binding: where its policy holds, and with what."""

    def __init__(self, binding: Object) -> None:
        self.name: str = binding["metadata"]["name"]
        self.spec: Object = binding.get("spec") or {}
        resources = self.spec.get("matchResources") or {}
        self.criteria = Criteria(resources, resources.get("resourceRules") or ())


class Hook(Generic[Evaluator]):
    """One policy that has bindings. `evaluator` is compiled when it is first needed."""

    def __init__(self, policy: Object, compile_policy: Callable[[Object], Evaluator]) -> None:
        self.name: str = policy["metadata"]["name"]
        self.spec: Object = policy.get("spec") or {}
        constraints = self.spec.get("matchConstraints") or {}
        self.criteria = Criteria(constraints, constraints.get("resourceRules") or ())
        self.ignores_failures = self.spec.get("failurePolicy") == "Ignore"
        self.bindings: list[Binding] = []
        self._policy = policy
        self._compile = compile_policy
        self._evaluator: Evaluator | None = None

    @property
    def evaluator(self) -> Evaluator:
        if self._evaluator is None:
            self._evaluator = self._compile(self._policy)
        return self._evaluator

    @property
    def generation(self) -> tuple[Any, Any]:
        """By which it is known whether what is compiled is still what is written."""
        metadata = self._policy["metadata"]
        return metadata.get("uid"), metadata.get("generation")


class Hooks(Generic[Evaluator]):
    """All hooks of one kind of policy."""

    def __init__(self, policies: str, bindings: str, compile_policy: Callable[[Object], Evaluator]) -> None:
        self._resources = policies, bindings
        self._compile = compile_policy
        self._caches: tuple[ResourceCache, ResourceCache] | None = None
        self._hooks: dict[str, Hook[Evaluator]] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Who wants to know that other hooks may be for a request now."""
        self._known: dict[Any, tuple[Hook[Evaluator], ...]] = {}
        self._revision = -1
        self._objects: Objects | None = None

    def of(self, attributes: Attributes) -> tuple[Hook[Evaluator], ...]:
        """Those that may be for a request, in the order of their names; selectors are still to be asked."""
        revision = attributes.call.server.scheme.revision
        if revision != self._revision or attributes.objects is not self._objects:
            self._known.clear()
            self._revision, self._objects = revision, attributes.objects
        row = attributes.row
        key = (row.group, row.version, row.plural, attributes.subresource, attributes.operation)
        known = self._known.get(key)
        if known is None:
            hooks = self._all(attributes.objects)
            untouchable = configures_admission(row) or row.group_resource in EXCLUDED
            found = (
                ()
                if untouchable
                else (each for each in hooks.values() if each.criteria.could_match(attributes))
            )
            known = self._known[key] = tuple(found)
        return known

    def _all(self, objects: Objects) -> dict[str, Hook[Evaluator]]:
        policies, bindings = (objects.cache(GROUP, plural) for plural in self._resources)
        if self._caches is None or self._caches[0] is not policies or self._caches[1] is not bindings:
            self._caches, self._hooks = (policies, bindings), None
            for cache in self._caches:
                cache.watch(_Listener(self._changed))
        if self._hooks is None:
            self._hooks = self._made(policies, bindings)
        return self._hooks

    def _changed(self, event: Event) -> None:
        self._hooks, self._before = None, self._hooks or self._before
        self._known.clear()
        self.changed()

    _before: dict[str, Hook[Evaluator]] | None = None
    """What was there before the last changes: most of it is still good."""

    def _made(self, policies: ResourceCache, bindings: ResourceCache) -> dict[str, Hook[Evaluator]]:
        before = self._before or {}
        made: dict[str, Hook[Evaluator]] = {}
        for record in bindings.page()[0]:
            name = (record.object.get("spec") or {}).get("policyName", "")
            policy = policies.get("", name)
            if policy is None:
                continue
            hook = made.get(name)
            if hook is None:
                hook = made[name] = self._hook(policy, before.get(name))
            hook.bindings.append(Binding(record.object))
        self._before = None
        return dict(sorted(made.items()))

    def _hook(self, policy: Record, before: Hook[Evaluator] | None) -> Hook[Evaluator]:
        hook = Hook(policy.object, self._compile)
        if before is not None and before.generation == hook.generation:
            before.bindings = []
            return before
        return hook


class _Listener:
    namespace = ""

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self.deliver = deliver
