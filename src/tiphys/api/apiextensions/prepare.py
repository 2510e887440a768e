"""What a write of a CustomResourceDefinition may not decide for itself.

Upstream's `pkg/registry/customresourcedefinition/strategy.go`: a version that is stored once is remembered in
`status.storedVersions`, since objects of it may lie in the store; an administrator takes it off there after a migration.
"""

from __future__ import annotations

from tiphys.api.resource import Object


def custom_resource_definition(new: Object, old: Object | None) -> None:
    status = dict(new.get("status") or {})
    stored = list(status.get("storedVersions") or ())
    for version in (new.get("spec") or {}).get("versions") or ():
        name = version.get("name")
        if version.get("storage") and name and name not in stored:
            stored.append(name)
    new["status"] = {
        "acceptedNames": status.get("acceptedNames") or {"plural": "", "kind": ""},
        **status,
        "storedVersions": stored,
    }
