"""Which of the runtime's handlers a pod's RuntimeClass names (KEP-585). Asked when a sandbox is made, and only of pods that name a class."""

from __future__ import annotations

from tiphys.client.client import Client
from tiphys.client.resources import RUNTIMECLASSES
from tiphys.kubelet.host import Unprovided
from tiphys.kubelet.spec import Object
from tiphys.machinery.errors import StatusError, is_not_found

DEFAULT_HANDLER = ""


async def runtime_handler(client: Client, pod: Object) -> str:
    """Raises Unprovided when there is no such class (any more), or the API does not answer."""
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return DEFAULT_HANDLER
    try:
        found = await client.get(RUNTIMECLASSES, name)
    except StatusError as error:
        if is_not_found(error):
            # As client-go's listers say it: in the singular.
            told = f'runtimeclass.node.k8s.io "{name}" not found'
            raise Unprovided("FailedCreatePodSandBox", told) from error
        raise _unknown(name, error) from error
    except (OSError, TimeoutError) as error:
        raise _unknown(name, error) from error
    return str(found.get("handler") or DEFAULT_HANDLER)


def _unknown(name: str, error: Exception) -> Unprovided:
    return Unprovided("FailedCreatePodSandBox", f"failed to lookup RuntimeClass {name}: {error}")
