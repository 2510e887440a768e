"""An API server in memory, behind the client's `Transport`: for tests of controllers, caches and schedulers.

It keeps the promises that controllers rely on (one ordered resourceVersion, conflicts, uids, generation, status as its own
subresource, finalizers, graceful deletion of bound pods, watches that resume or are told that they are too late) and leaves
out everything else: no defaults, no validation, no admission. For those, test against the real one.

    api = FakeAPI(clock=clock)
    client = Client(api)
    api.refuse(lambda method, path: method == "POST" and path.endswith("/pods"), error)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import unquote

import orjson

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme, built_in
from tiphys.client.inprocess import selectable_fields
from tiphys.client.transport import (
    ADDED,
    DELETED,
    JSON,
    JSON_PATCH,
    MODIFIED,
    STRATEGIC_MERGE_PATCH,
    Listing,
    Object,
    Query,
    WatchEvent,
)
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    expired,
    not_found,
)
from tiphys.machinery.gvk import GroupVersionResource
from tiphys.machinery.names import simple_generate
from tiphys.machinery.patches import (
    PatchField,
    apply_json_patch,
    apply_merge_patch,
    apply_strategic_patch,
)
from tiphys.machinery.selectors import parse_field_selector, parse_label_selector

Refusal = tuple[Callable[[str, str], bool], Exception, bool]
Target = tuple[Resource, str, str, str]


class FakeAPI:
    """A `tiphys.client.transport.Transport`. `requests` keeps (method, path) of every call but lists and watches."""

    def __init__(self, *, clock: Clock, scheme: Scheme | None = None, seed: int = 1) -> None:
        self.requests: list[tuple[str, str]] = []
        self.resource_version = 0
        self._clock = clock
        self._scheme = scheme or built_in()
        self._random = Random(seed)
        self._uids = 0
        self._objects: dict[GroupVersionResource, dict[str, Object]] = {}
        self._changes: list[tuple[int, str, GroupVersionResource, Object]] = []
        self._compacted = 0
        self._changed: set[asyncio.Event] = set()
        self._refusals: list[Refusal] = []

    # What tests do to it

    def put(self, resource: Resource, obj: Object) -> Object:
        """Creates or replaces an object, status and all, as nobody could through the API."""
        key = meta.namespaced_name(obj)
        old = self._of(resource).get(key)
        metadata = {**(old or {}).get("metadata", self._new_metadata()), **obj["metadata"]}
        named = {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": metadata}
        return self._store(resource, named, ADDED if old is None else MODIFIED)

    def objects(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """All objects in order of their names."""
        found = self._of(resource)
        return [
            found[key] for key in sorted(found) if not namespace or meta.namespace(found[key]) == namespace
        ]

    def refuse(self, matches: Callable[[str, str], bool], error: Exception, *, once: bool = False) -> None:
        """Answers requests whose (method, path) match with an error, from now on or once."""
        self._refusals.append((matches, error, once))

    def accept_all(self) -> None:
        self._refusals.clear()

    def compact(self) -> None:
        """Forgets history: a watch that resumes from before now gets 410."""
        self._compacted = self.resource_version
        self._changes.clear()

    def disconnect(self) -> None:
        """Ends every open watch."""
        self._wake(ended=True)

    # The transport

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Object | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_seconds: float | None = None,
    ) -> Object:
        await asyncio.sleep(0)
        self._check_refusals(method, path)
        self.requests.append((method, path))
        if method == "GET" and (found := self._discover(path)) is not None:
            return found
        resource, namespace, name, subresource = self._target(path)
        # Through JSON, as over the wire: what the caller does to its object later is its own affair.
        content = orjson.loads(orjson.dumps(body)) if body is not None else {}
        if method == "GET":
            return self._get(resource, namespace, name)
        if method == "POST" and subresource:
            return self._post_subresource((resource, namespace, name, subresource), content)
        if method == "POST":
            return self._create(resource, namespace, content)
        if method == "PUT":
            return self._update(resource, self._get(resource, namespace, name), content, subresource)
        if method == "PATCH":
            old = self._get(resource, namespace, name)
            return self._update(resource, old, _patched(old, content, content_type), subresource)
        if method == "DELETE" and not name:
            for obj in self.objects(resource, namespace):
                self._delete(resource, obj, content)
            return {"kind": "Status", "status": "Success"}
        if method == "DELETE":
            return self._delete(resource, self._get(resource, namespace, name), content)
        raise bad_request(f"no {method} here")

    async def list(
        self, resource: Resource, namespace: str | None = None, *, query: Query | None = None
    ) -> Listing:
        await asyncio.sleep(0)
        self._check_refusals("LIST", resource.plural)
        accepts = _selection(self._row(resource), query)
        items = [obj for obj in self.objects(resource, namespace) if accepts(obj)]
        return Listing(items, str(self.resource_version))

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        query: Query | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        self._check_refusals("WATCH", resource.plural)
        seen = int(resource_version)
        if seen < self._compacted:
            raise expired(f"too old resource version: {seen} ({self._compacted})")
        accepts = _selection(self._row(resource), query)
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            while changed in self._changed:
                changed.clear()
                for version, type, gvr, obj in deque(self._changes):
                    if version <= seen:
                        continue
                    seen = version
                    if gvr == resource.gvr and (not namespace or meta.namespace(obj) == namespace):
                        yield WatchEvent(type if accepts(obj) else DELETED, obj)
                if changed in self._changed and not changed.is_set():
                    await changed.wait()
        finally:
            self._changed.discard(changed)

    async def close(self) -> None:
        self.disconnect()

    def _row(self, resource: Resource) -> Resource:
        """The row with all rules: clients have others."""
        return self._scheme.by_resource(resource.group, resource.version, resource.plural) or resource

    # Verbs

    def _get(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self._of(resource).get(f"{namespace}/{name}" if namespace else name)
        if found is None:
            raise not_found(resource.group_resource, name)
        return found

    def _create(self, resource: Resource, namespace: str, content: Object) -> Object:
        metadata = {**content.get("metadata", {}), **self._new_metadata()}
        if namespace:
            metadata["namespace"] = namespace
        if not metadata.get("name"):
            metadata["name"] = simple_generate(metadata.get("generateName", ""), self._random)
        if resource.generation_on:
            metadata["generation"] = 1
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, **content, "metadata": metadata}
        if resource.subresource("status") is not None and resource.plural != "nodes":
            obj.pop("status", None)
        if meta.namespaced_name(obj) in self._of(resource):
            raise already_exists(resource.group_resource, metadata["name"])
        return self._store(resource, obj, ADDED)

    def _update(self, resource: Resource, old: Object, new: Object, subresource: str) -> Object:
        wanted = new.get("metadata", {})
        self._check_preconditions(resource, old, wanted.get("uid"), wanted.get("resourceVersion"))
        if subresource == "status":
            changed = {**old, "status": new.get("status", {}), "metadata": _with_annotations(old, wanted)}
        elif subresource == "finalize":
            changed = {
                **old,
                "spec": {**old.get("spec", {}), "finalizers": new["spec"].get("finalizers") or []},
            }
        else:
            changed = self._replaced(resource, old, new)
        if changed == old:
            return old
        is_last_finalizer = meta.is_deleting(changed) and self._may_go(changed) and not self._may_go(old)
        if is_last_finalizer and not changed["metadata"].get("deletionGracePeriodSeconds"):
            return self._remove(resource, changed)
        return self._store(resource, changed, MODIFIED)

    def _replaced(self, resource: Resource, old: Object, new: Object) -> Object:
        kept = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
        metadata = {name: value for name, value in new.get("metadata", {}).items() if name not in kept}
        metadata |= {name: old["metadata"][name] for name in kept if name in old["metadata"]}
        metadata["resourceVersion"] = meta.resource_version(old)
        changed = {**new, "metadata": metadata}
        changed.setdefault("apiVersion", resource.api_version)
        changed.setdefault("kind", resource.kind)
        if resource.subresource("status") is not None:
            changed.pop("status", None)
            if "status" in old:
                changed["status"] = old["status"]
        if any(changed.get(field) != old.get(field) for field in resource.generation_on):
            metadata["generation"] = metadata.get("generation", 0) + 1
        return changed

    def _delete(self, resource: Resource, obj: Object, options: Object) -> Object:
        wanted = options.get("preconditions") or {}
        self._check_preconditions(resource, obj, wanted.get("uid"), wanted.get("resourceVersion"))
        metadata = dict(obj["metadata"])
        finalizers = [*metadata.get("finalizers", ()), *_propagation_finalizer(options)]
        if finalizers:
            metadata["finalizers"] = list(dict.fromkeys(finalizers))
        grace = _grace_period(resource, obj, options)
        marked = {**obj, "metadata": metadata}
        if resource.plural == "namespaces":
            marked["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        if grace == 0 and self._may_go(marked):
            return self._remove(resource, marked)
        if not metadata.get("deletionTimestamp"):
            moment = self._clock.now() + timedelta(seconds=grace)
            metadata |= {"deletionTimestamp": meta.format_time(moment), "deletionGracePeriodSeconds": grace}
        elif marked == obj:
            return obj
        return self._store(resource, marked, MODIFIED)

    def _post_subresource(self, where: Target, content: Object) -> Object:
        resource, namespace, name, subresource = where
        obj = self._get(resource, namespace, name)
        if subresource == "eviction":
            return self._delete(resource, obj, content.get("deleteOptions") or {})
        if subresource != "binding":
            raise bad_request(f"no {subresource} here")
        if obj.get("spec", {}).get("nodeName"):
            raise conflict(
                resource.group_resource,
                name,
                f'pod {name} is already assigned to node "{obj["spec"]["nodeName"]}"',
            )
        conditions = meta.set_condition(meta.conditions(obj), "PodScheduled", "True", self._clock.now())
        bound = {
            **obj,
            "spec": {**obj.get("spec", {}), "nodeName": content["target"]["name"]},
            "status": {**obj.get("status", {}), "conditions": conditions},
        }
        self._store(resource, bound, MODIFIED)
        return {"kind": "Status", "status": "Success", "code": 201}

    def _discover(self, path: str) -> Object | None:
        """The documents that say which kinds there are."""
        versions = self._scheme.group_versions()
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = dict.fromkeys(version.group for version in versions if version.group)
            named = {
                group: [str(version) for version in versions if version.group == group] for group in groups
            }
            entries = [
                {"name": group, "versions": [{"groupVersion": version} for version in named[group]]}
                for group in groups
            ]
            return {"kind": "APIGroupList", "groups": entries}
        for version in versions:
            if path == (f"/apis/{version}" if version.group else f"/api/{version}"):
                rows = [row for row in self._scheme if row.group_version == version]
                return {"kind": "APIResourceList", "resources": [_discovered(row) for row in rows]}
        return None

    # Keeping

    def _of(self, resource: Resource) -> dict[str, Object]:
        return self._objects.setdefault(resource.gvr, {})

    def _new_metadata(self) -> dict[str, Any]:
        self._uids += 1
        return {"uid": f"uid-{self._uids}", "creationTimestamp": meta.format_time(self._clock.now())}

    def _store(self, resource: Resource, obj: Object, type: str) -> Object:
        self.resource_version += 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.resource_version)}}
        self._of(resource)[meta.namespaced_name(obj)] = stored
        self._changes.append((self.resource_version, type, resource.gvr, stored))
        self._wake()
        return stored

    def _remove(self, resource: Resource, obj: Object) -> Object:
        self.resource_version += 1
        del self._of(resource)[meta.namespaced_name(obj)]
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.resource_version)}}
        self._changes.append((self.resource_version, DELETED, resource.gvr, last))
        self._wake()
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "details": {"uid": meta.uid(obj)}}

    def _wake(self, *, ended: bool = False) -> None:
        for changed in self._changed:
            changed.set()
        if ended:
            self._changed.clear()

    def _may_go(self, obj: Object) -> bool:
        if obj.get("kind") == "Namespace" and obj.get("spec", {}).get("finalizers"):
            return False
        return not meta.finalizers(obj)

    def _check_preconditions(
        self, resource: Resource, obj: Object, uid: str | None, version: str | None
    ) -> None:
        if (uid and uid != meta.uid(obj)) or (version and version != meta.resource_version(obj)):
            raise conflict(resource.group_resource, meta.name(obj))

    def _check_refusals(self, method: str, path: str) -> None:
        for refusal in list(self._refusals):
            matches, error, once = refusal
            if matches(method, path):
                if once:
                    self._refusals.remove(refusal)
                raise error

    def _target(self, path: str) -> Target:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        group, version, rest = (
            ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        )
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        resource = self._scheme.by_resource(group, version, rest[0])
        if resource is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        name, subresource = [*rest[1:], "", ""][:2]
        return resource, namespace, name, subresource


def _with_annotations(old: Object, wanted: Object) -> Object:
    """A write to /status may change annotations, and no other metadata that matters here."""
    given = wanted.get("annotations")
    return {**old["metadata"], "annotations": given} if given else old["metadata"]


def _propagation_finalizer(options: Object) -> list[str]:
    policy = options.get("propagationPolicy")
    return {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(policy or "", [])


def _grace_period(resource: Resource, obj: Object, options: Object) -> int:
    """Only a pod on a node, and not at its end, is given time to end."""
    if resource.plural != "pods" or not obj.get("spec", {}).get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    return int(asked if asked is not None else obj["spec"].get("terminationGracePeriodSeconds", 30))


def _selection(resource: Resource, query: Query | None) -> Callable[[Object], bool]:
    labels = parse_label_selector((query or {}).get("labelSelector", ""))
    fields = parse_field_selector((query or {}).get("fieldSelector", ""))

    def accepts(obj: Object) -> bool:
        values = selectable_fields(resource, obj)
        return labels.matches(meta.labels(obj)) and fields.matches(lambda path: values.get(path, ""))

    return accepts


def _discovered(row: Resource) -> Object:
    return {"name": row.plural, "kind": row.kind, "namespaced": row.namespaced, "verbs": list(row.verbs)}


class _Conditions:
    """Enough of a schema for strategic patches of conditions; other lists are replaced."""

    def field(self, name: str) -> PatchField | None:
        if name == "conditions":
            return PatchField(frozenset({"merge"}), merge_key="type")
        return PatchField(value=self)


def _patched(old: Object, patch: Any, content_type: str) -> Object:
    if content_type == JSON_PATCH:
        patched: Object = apply_json_patch(old, patch)
        return patched
    if content_type == STRATEGIC_MERGE_PATCH:
        return apply_strategic_patch(old, patch, _Conditions())
    return apply_merge_patch(old, patch)
