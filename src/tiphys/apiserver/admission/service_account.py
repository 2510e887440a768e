"""ServiceAccount: every pod runs as a service account and gets its token, unless it or the account says otherwise."""

from __future__ import annotations

from typing import Any

from tiphys.apiserver.admission.attributes import CREATE, Attributes
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource
from tiphys.machinery.names import SAFE_ALPHABET

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
"""One hour and seven seconds: upstream's figure, by which such tokens are known to be extended."""
_MIRROR = "kubernetes.io/config.mirror"
_PODS = GroupResource("", "pods")


class ServiceAccount:
    name = "ServiceAccount"

    def __init__(self) -> None:
        import random

        self._random = random.SystemRandom()

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for("", "pods"):
            return
        pod = attributes.object
        assert pod is not None
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        record = attributes.objects.cache("", "serviceaccounts").get(attributes.namespace, name)
        if record is None:
            cause = f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden(_PODS, attributes.name, cause)
        account = record.object
        if _wants_token(spec, account):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]

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
