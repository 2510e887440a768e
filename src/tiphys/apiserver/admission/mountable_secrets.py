"""Service accounts whose pods may mount only the secrets that the account names (an annotation asks for it; deprecated)."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.resource import Object

ANNOTATION = "kubernetes.io/enforce-mountable-secrets"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def is_limited(account: Object) -> bool:
    return (account["metadata"].get("annotations") or {}).get(ANNOTATION) in _TRUE


def unmountable(spec: Object, account: Object) -> Iterator[str]:
    """What the pod names and may not."""
    allowed = _names(account.get("secrets"))
    for volume in spec.get("volumes") or ():
        name = (volume.get("secret") or {}).get("secretName")
        if name is not None and name not in allowed:
            yield _fault("volume with", name, account)
    yield from _of_containers("init container", spec.get("initContainers"), allowed, account)
    yield from _of_containers("container", spec.get("containers"), allowed, account)
    pulling = _names(account.get("imagePullSecrets"))
    for position, reference in enumerate(spec.get("imagePullSecrets") or ()):
        name = reference.get("name", "")
        if name not in pulling:
            yield (
                f'imagePullSecrets[{position}].name="{name}" is not allowed because service account '
                f"{account['metadata']['name']} does not reference that imagePullSecret"
            )


def unmountable_of_ephemeral_containers(spec: Object, account: Object) -> Iterator[str]:
    allowed = _names(account.get("secrets"))
    return _of_containers("ephemeral container", spec.get("ephemeralContainers"), allowed, account)


def _of_containers(
    called: str, containers: list[Object] | None, allowed: frozenset[str], account: Object
) -> Iterator[str]:
    for container in containers or ():
        who = f"{called} {container.get('name', '')} with"
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference is not None and reference.get("name", "") not in allowed:
                where = f"{who} envVar {variable.get('name', '')} referencing"
                yield _fault(where, reference.get("name", ""), account)
        for source in container.get("envFrom") or ():
            reference = source.get("secretRef")
            if reference is not None and reference.get("name", "") not in allowed:
                yield _fault(f"{who} envFrom referencing", reference.get("name", ""), account)


def _fault(where: str, secret: str, account: Object) -> str:
    return (
        f'{where} secret.secretName="{secret}" is not allowed because service account '
        f"{account['metadata']['name']} does not reference that secret"
    )


def _names(references: list[Object] | None) -> frozenset[str]:
    return frozenset(reference.get("name", "") for reference in references or ())
