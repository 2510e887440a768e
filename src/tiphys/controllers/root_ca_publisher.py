"""The ConfigMap `kube-root-ca.crt` in every namespace: what pods trust when they talk to the API server."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.resources import CONFIGMAPS, NAMESPACES
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Create, Plan, Update
from tiphys.controllers.catalog import Options
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta

NAME = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def observe(namespace: Object, view: View) -> Object | None:
    return view.get(CONFIGMAPS, NAME, meta.name(namespace))


def keys_of_configmap(configmap: Object, view: View) -> Iterable[str]:
    return (meta.namespace(configmap),) if meta.name(configmap) == NAME else ()


def make(options: Options) -> Controller[Object | None]:
    data = {"ca.crt": options.root_ca}
    annotations = {"kubernetes.io/description": DESCRIPTION}

    def plan(namespace: Object, observed: Object | None, now: datetime) -> Plan:
        if meta.is_deleting(namespace):
            return NOTHING
        if observed is None:
            metadata = {"name": NAME, "namespace": meta.name(namespace), "annotations": annotations}
            created = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            return Plan((Create(CONFIGMAPS, created),), reason="it has no root certificate")
        if observed.get("data") == data and annotations.items() <= meta.annotations(observed).items():
            return NOTHING
        metadata = {**observed["metadata"], "annotations": {**meta.annotations(observed), **annotations}}
        changed = {**observed, "metadata": metadata, "data": data}
        return Plan((Update(CONFIGMAPS, changed),), reason="somebody changed the root certificate")

    return Controller(
        name="root-ca-certificate-publisher-controller",
        kind=NAMESPACES,
        observe=observe,
        plan=plan,
        watches=[Watch(CONFIGMAPS, keys_of_configmap)],
    )
