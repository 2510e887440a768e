"""What pods of simulated nodes refer to: nothing of it is written anywhere, but what is not there keeps a pod waiting, as on a real node.

Only ConfigMaps and Secrets: claims, which nobody may be there to bind, and paths of nodes that do not exist are taken as given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.resources import CONFIGMAPS, SECRETS
from tiphys.kubelet import env
from tiphys.kubelet.host import Unprovided
from tiphys.kubelet.references import NotSynced, References
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.payload import files_of
from tiphys.kubelet.volumes.request import SET_UP, Kind, VolumeFailure
from tiphys.kubelet.volumes.used import used_volumes
from tiphys.machinery import meta

ROOT_CERTIFICATES = "kube-root-ca.crt"
"""Of every namespace, in every pod: nobody is asked whether it is there."""


class SimulatedReferences:
    """Of the pods of one node."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._resources: Mapping[str, Resource] = {
            "configmap": CONFIGMAPS,
            "secret": SECRETS,
        }

    async def check_volumes(self, pod: Object) -> None:
        """Raises Unprovided with every volume that cannot be had."""

        async def look(kind: Kind, name: str) -> Object | None:
            try:
                return await self._find(pod, kind, name)
            except NotSynced as error:
                raise VolumeFailure(str(error)) from error

        problems = []
        for name, kind, source in referring(pod):
            try:
                await files_of(kind, source, look, 0)
            except VolumeFailure as failure:
                problems.append(("FailedMount", f'{SET_UP} for volume "{name}" : {failure}'))
        if problems:
            first, *others = problems
            raise Unprovided(*first, others=others)

    async def check_environment(self, pod: Object, container: Object) -> None:
        """Raises Unprovided with the first variable that cannot be had."""
        for kind, reference in env.references(container):
            try:
                obj = await self._find(pod, kind, reference.get("name", ""))
            except NotSynced as error:
                raise Unprovided("CreateContainerConfigError", str(error)) from error
            problem = env.problem(pod, kind, reference, obj)
            if problem:
                raise Unprovided("CreateContainerConfigError", problem)

    async def _find(self, pod: Object, kind: str, name: str) -> Object | None:
        return await self._references.get(meta.uid(pod), self._resources[kind], meta.namespace(pod), name)

    def forget(self, uid: str) -> None:
        self._references.forget(uid)


def referring(pod: Object) -> Iterator[tuple[str, Kind, Mapping[str, Any]]]:
    """The sources of volumes that containers mount: volume, kind of the object, and which one it is."""
    mounted, _ = used_volumes(pod)
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"] not in mounted:
            continue
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            if source.get("configMap") and source["configMap"].get("name") != ROOT_CERTIFICATES:
                yield volume["name"], "configmap", source["configMap"]
            if source.get("secret"):
                secret = source["secret"]
                yield (
                    volume["name"],
                    "secret",
                    {**secret, "name": secret.get("secretName") or secret.get("name", "")},
                )
