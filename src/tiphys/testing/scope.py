"""Objects as a test handles them: made from a manifest, looked at, waited for. The same for a whole cluster and for one namespace of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tiphys.testing.conditions import Object, Test, read_condition
from tiphys.testing.links import Link

Objects = list[Object]
Manifest = str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]
Reference = str | Mapping[str, Any]
"""An object, or "kind/name" as kubectl reads it: "deployment/web", "po/web-1", "widgets.example.com/mine"."""

MERGE_PATCH = "application/merge-patch+json"
WAIT_SECONDS = 30.0


class Scope:
    """`namespace` "": cluster-wide, and objects of a namespace name theirs ("default" where they do not)."""

    def __init__(self, link: Link, namespace: str = "") -> None:
        self.link = link
        self._namespace = namespace

    def _call(self, method: str, **arguments: Any) -> Any:
        return self.link.call(method, **arguments).result()

    # Looking

    def get(self, reference: Reference, *, namespace: str = "") -> Object | None:
        """The object as it is now, or None."""
        kind, name, where = self._read(reference, namespace)
        found: Object | None = self._call("get", kind=kind, name=name, namespace=where)
        return found

    def list(self, kind: str, *, namespace: str = "", selector: str = "") -> Objects:
        """All objects of a kind, in order of their names; those that a label selector selects."""
        where = namespace or self._namespace
        found: Objects = self._call("list_objects", kind=kind, namespace=where, selector=selector)
        return found

    def events(self, reference: Reference, *, namespace: str = "") -> tuple[str, ...]:
        """What the cluster has told about an object, oldest first: "Warning BackOff: Back-off restarting …"."""
        _, name, where = self._read(reference, namespace)
        found = self._call("list_objects", kind="events", namespace=where, selector="")
        concerning = [event for event in found if event["involvedObject"].get("name") == name]
        concerning.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return tuple(f"{event['type']} {event['reason']}: {event.get('message', '')}" for event in concerning)

    # Changing

    def load(self, manifest: Manifest, *, namespace: str = "") -> Objects:
        """Applies what a manifest says, server-side: a path, YAML, or objects. Definitions are waited for."""
        objects = read_manifest(manifest)
        where = namespace or self._namespace or "default"
        found: Objects = self._call("load", objects=objects, namespace=where)
        return found

    def create(self, obj: Mapping[str, Any], *, namespace: str = "") -> Object:
        """As it is in the API afterwards. StatusError when it is refused, or there already."""
        where = namespace or self._namespace or "default"
        made: Object = self._call("create", obj=dict(obj), namespace=where)
        return made

    def patch(
        self,
        reference: Reference,
        patch: Any,
        *,
        namespace: str = "",
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Object:
        """A merge patch, or another by its content type; `subresource="status"` plays a controller's part."""
        kind, name, where = self._read(reference, namespace)
        changed: Object = self._call(
            "patch",
            kind=kind,
            name=name,
            namespace=where,
            patch=patch,
            content_type=content_type,
            subresource=subresource,
        )
        return changed

    def delete(
        self, reference: Reference, *, namespace: str = "", grace_period_seconds: int | None = None
    ) -> bool:
        """False when there was no such object. Dependents go in the background; see `wait_gone`."""
        kind, name, where = self._read(reference, namespace)
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        was_there: bool = self._call("delete", kind=kind, name=name, namespace=where, options=options)
        return was_there

    # Waiting

    def wait_for(
        self,
        reference: Reference,
        condition: str | Test = "Ready",
        timeout_seconds: float = WAIT_SECONDS,
        *,
        namespace: str = "",
    ) -> Object:
        """The object, once it is there and as the condition says; looked at whenever it changes, and only then.

        TimeoutError, which tells how it is and what was told about it. The seconds are of the machine's time, or of the cluster's
        when that stands still (`speed=0`), which then passes as far as is needed.
        """
        test, name = read_condition(condition)
        found = self._wait(
            reference, namespace, lambda objects: objects and test(objects[0]), name, timeout_seconds
        )
        obj: Object = found[0]
        return obj

    def wait_gone(
        self, reference: Reference, timeout_seconds: float = WAIT_SECONDS, *, namespace: str = ""
    ) -> None:
        """Until there is no such object. TimeoutError."""
        self._wait(reference, namespace, lambda objects: not objects, "gone", timeout_seconds)

    def wait_for_all(
        self,
        kind: str,
        condition: Test,
        timeout_seconds: float = WAIT_SECONDS,
        *,
        namespace: str = "",
        selector: str = "",
    ) -> Objects:
        """All objects of a kind, once the condition holds for the list of them: `lambda pods: len(pods) == 3`. TimeoutError."""
        test, name = read_condition(condition)
        where = namespace or self._namespace
        return self._wait_for_list((kind, "", where), test, name, timeout_seconds, selector)

    def _wait(
        self, reference: Reference, namespace: str, test: Test, name: str, timeout_seconds: float
    ) -> Objects:
        return self._wait_for_list(self._read(reference, namespace), test, name, timeout_seconds)

    def _wait_for_list(
        self,
        target: tuple[str, str, str],
        test: Test,
        wanted: str,
        timeout_seconds: float,
        selector: str = "",
    ) -> Objects:
        kind, name, where = target
        known, left = "-", timeout_seconds
        found: Objects = []
        while True:
            seen = self._call(
                "changed",
                kind=kind,
                name=name,
                namespace=where,
                selector=selector,
                known=known,
                timeout_seconds=left,
            )
            if seen is None:
                raise TimeoutError(self._complaint(target, wanted, timeout_seconds, found))
            known, found, left = seen
            if _holds(test, found):
                return found

    def _complaint(
        self, target: tuple[str, str, str], wanted: str, timeout_seconds: float, found: Objects
    ) -> str:
        kind, name, where = target
        lines = [
            f"{kind}/{name or '*'} in {where or 'the cluster'}: not ({wanted}) after {timeout_seconds:g} s"
        ]
        if not found:
            lines.append("there is no such object")
        for obj in found[:5]:
            status = obj.get("status")
            lines.append(f"{obj['metadata']['name']}: {status if status else 'no status'}")
            told = self.events(f"{kind}/{obj['metadata']['name']}", namespace=where)
            lines += [f"  {event}" for event in told[-5:]]
        return "\n".join(lines)

    # References

    def _read(self, reference: Reference, namespace: str) -> tuple[str, str, str]:
        """(kind, name, namespace). ValueError for a text without a name."""
        if isinstance(reference, str):
            kind, _, name = reference.partition("/")
            if not name:
                raise ValueError(f'{reference!r} names no object: write "kind/name"')
            where = namespace or self._namespace or "default"
        else:
            metadata = reference["metadata"]
            kind, name = self._call("kind_of", obj=dict(reference)), metadata["name"]
            where = metadata.get("namespace") or namespace or self._namespace or "default"
        return kind, name, where


def _holds(test: Test, objects: Objects) -> bool:
    """A field that is not there yet is no error of the test's: it waits for it."""
    try:
        return bool(test(objects))
    except (LookupError, TypeError):
        return False


def read_manifest(manifest: Manifest) -> Objects:
    """The objects of a path, of YAML, or as given; a List is its items. ValueError for what are no objects."""
    if isinstance(manifest, Mapping):
        given: list[Any] = [manifest]
    elif isinstance(manifest, str | Path):
        from tiphys.machinery.yaml import load_all

        text = manifest.read_text() if isinstance(manifest, Path) else manifest
        if isinstance(manifest, str) and "\n" not in manifest and Path(manifest).is_file():
            text = Path(manifest).read_text()
        given = [document for document in load_all(text) if document]
    else:
        given = list(manifest)
    objects: list[Object] = []
    for entry in given:
        if not isinstance(entry, Mapping) or "kind" not in entry or "apiVersion" not in entry:
            raise ValueError(f"no Kubernetes object: {str(entry)[:80]!r}")
        objects += entry["items"] if entry["kind"] == "List" else [dict(entry)]
    return objects
