"""ServiceAccount: every pod runs as a service account and gets its token, unless it or the account says otherwise."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.admission.mountable_secrets import (
    is_limited,
    unmountable,
    unmountable_of_ephemeral_containers,
)
from tiphys.apiserver.authorization.pod_references import MIRROR, all_references
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource
from tiphys.machinery.names import SAFE_ALPHABET

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
"""One hour and seven seconds: upstream's figure, by which such tokens are known to be extended."""
_PODS = GroupResource("", "pods")


class ServiceAccount:
    name = "ServiceAccount"

    def __init__(self) -> None:
        import random

        self._random = random.SystemRandom()

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        if attributes.operation == UPDATE:
            return kind == "validate" and attributes.is_for("", "pods", "ephemeralcontainers")
        return attributes.operation == CREATE and attributes.is_for("", "pods")

    def admit(self, attributes: Attributes) -> None:
        pod = attributes.object
        assert pod is not None
        if _is_mirror(pod):
            _check_mirror(attributes, pod)
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = _account(attributes, name)
        if _wants_token(spec, account):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
        _check_secrets(attributes, pod, account)

    def validate(self, attributes: Attributes) -> None:
        """Once more what `admit` has seen to: something else may have changed the pod since."""
        pod = attributes.object
        assert pod is not None
        if attributes.operation == UPDATE:
            _check_ephemeral_containers(attributes, pod)
        elif _is_mirror(pod):
            _check_mirror(attributes, pod)
        else:
            _check_secrets(attributes, pod, _account(attributes, _account_name(attributes, pod)))

    def _mount_token(self, spec: dict[str, Any]) -> None:
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        without = [container for container in containers if not _has_mount(container)]
        if not without:
            return
        volume = _existing_volume(spec)
        if volume is None:
            suffix = "".join(self._random.choices(SAFE_ALPHABET, k=5))
            volume = f"kube-api-access-{suffix}"
            spec["volumes"] = [*(spec.get("volumes") or ()), _token_volume(volume)]
        for container in without:
            mount = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _is_mirror(pod: Object) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def _check_mirror(attributes: Attributes, pod: Object) -> None:
    """A static pod lives without the API server: it has nothing that comes from it."""
    spec = pod["spec"]
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        raise attributes.forbidden("a mirror pod may not reference service accounts")
    if any(plural == "secrets" for plural, _ in all_references(pod)):
        raise attributes.forbidden("a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                raise attributes.forbidden("a mirror pod may not use ServiceAccountToken volume projections")


def _account_name(attributes: Attributes, pod: Object) -> str:
    name: str = pod["spec"].get("serviceAccountName") or ""
    if not name:
        raise attributes.forbidden(
            f"no service account specified for pod {attributes.namespace}/{pod['metadata']['name']}"
        )
    return name


def _account(attributes: Attributes, name: str) -> Object:
    record = attributes.objects.cache("", "serviceaccounts").get(attributes.namespace, name)
    if record is None:
        cause = f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden(_PODS, attributes.name, cause)
    return record.object


def _check_secrets(attributes: Attributes, pod: Object, account: Object) -> None:
    fault = next(unmountable(pod["spec"], account), None) if is_limited(account) else None
    if fault is not None:
        raise attributes.forbidden(fault)


def _check_ephemeral_containers(attributes: Attributes, pod: Object) -> None:
    account = _account(attributes, _account_name(attributes, pod))
    if is_limited(account):
        for fault in unmountable_of_ephemeral_containers(pod["spec"], account):
            raise errors.unknown(fault)


def _wants_token(spec: dict[str, Any], account: dict[str, Any]) -> bool:
    for source in (spec, account):
        if source.get("automountServiceAccountToken") is not None:
            return bool(source["automountServiceAccountToken"])
    return True


def _has_mount(container: dict[str, Any]) -> bool:
    return any(mount.get("mountPath") == MOUNT_PATH for mount in container.get("volumeMounts") or ())


def _existing_volume(spec: dict[str, Any]) -> str | None:
    for volume in spec.get("volumes") or ():
        name: str = volume.get("name", "")  # what has none is refused later, by the kind's own rules
        if name.startswith("kube-api-access-") and "projected" in volume:
            return name
    return None


def _token_volume(name: str) -> dict[str, Any]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [namespace]}},
            ],
            "defaultMode": 0o644,
        },
    }
