"""What the volumes of one pod ask the API: watched objects, claims as they are now, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.resources import (
    CLUSTERTRUSTBUNDLES,
    CONFIGMAPS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    SECRETS,
)
from tiphys.kubelet.references import NotSynced, References
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.request import Kind, NoSuchObject, Token, VolumeFailure
from tiphys.kubelet.volumes.tokens import Tokens
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen

_RESOURCES: Mapping[Kind, Resource] = {
    "configmap": CONFIGMAPS,
    "secret": SECRETS,
    "persistentvolumeclaim": PERSISTENTVOLUMECLAIMS,
    "persistentvolume": PERSISTENTVOLUMES,
}


@frozen
class PodLookups:
    """`Lookups` of one pod."""

    pod: Object
    references: References
    tokens: Tokens

    async def find(self, kind: Kind, name: str) -> Object | None:
        namespace = meta.namespace(self.pod)
        try:
            return await self.references.get(meta.uid(self.pod), _RESOURCES[kind], namespace, name)
        except NotSynced as error:
            raise VolumeFailure(str(error)) from error

    async def fetch(self, kind: Kind, name: str) -> Object:
        resource = _RESOURCES[kind]
        namespace = meta.namespace(self.pod) if resource.namespaced else ""
        try:
            return await self.references.client.get(resource, name, namespace)
        except (StatusError, OSError, TimeoutError) as error:
            raise NoSuchObject(str(error)) from error

    async def bundles(self) -> Sequence[Object]:
        try:
            return await self.references.all(meta.uid(self.pod), CLUSTERTRUSTBUNDLES)
        except NotSynced as error:
            raise VolumeFailure(str(error)) from error

    async def token(self, wanted: Mapping[str, Any]) -> Token:
        return await self.tokens.get(self.pod, wanted)
