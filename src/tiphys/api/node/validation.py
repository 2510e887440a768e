"""What is wrong with a runtime class (`pkg/apis/node/validation`)."""

from __future__ import annotations

from tiphys.api.core.validation.resources import amounts, resource_name
from tiphys.api.core.validation.scheduling import tolerations
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, dns_label, immutable, label_map
from tiphys.machinery.errors import Path


def runtime_class(new: Object, old: Object | None) -> Errors:
    handler = new.get("handler") or ""
    errors = dns_label(handler, Path("handler"))
    overhead = new.get("overhead")
    if overhead is not None:
        errors += amounts(overhead.get("podFixed"), resource_name, Path("overhead", "podFixed"))
    scheduling = new.get("scheduling")
    if scheduling is not None:
        here = Path("scheduling")
        errors += label_map(scheduling.get("nodeSelector"), here.child("nodeSelector"))
        errors += tolerations(scheduling.get("tolerations") or (), here.child("tolerations"))
    return errors if old is None else errors + immutable(handler, old.get("handler"), Path("handler"))
