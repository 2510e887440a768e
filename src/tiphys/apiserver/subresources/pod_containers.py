"""Which container of a pod a request for its log, or for a command in it, means."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.call import Call
from tiphys.machinery import errors

_KINDS = ("containers", "initContainers", "ephemeralContainers")


def container_of(call: Call, pod: Object) -> str:
    """The one that is named, or the only one; raises 400 when that is not clear."""
    wanted = call.request.query.get("container", ("",))[0]
    name, spec = pod["metadata"]["name"], pod["spec"]
    if wanted:
        if wanted not in [container["name"] for kind in _KINDS for container in spec.get(kind) or ()]:
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    names: list[str] = [container["name"] for container in spec["containers"]]
    if len(names) == 1:
        return names[0]
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    inits = [container["name"] for container in spec.get("initContainers") or ()]
    if inits:
        message += f" or one of the init containers: [{' '.join(inits)}]"
    raise errors.bad_request(message)
