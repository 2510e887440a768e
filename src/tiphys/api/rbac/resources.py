"""The kinds of the rbac.authorization.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRoleBinding",
        plural="clusterrolebindings",
        namespaced=False,
        type="rbac/v1.ClusterRoleBinding",
        generation_on=(),
    ),
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRole",
        plural="clusterroles",
        namespaced=False,
        type="rbac/v1.ClusterRole",
        generation_on=(),
    ),
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="RoleBinding",
        plural="rolebindings",
        namespaced=True,
        type="rbac/v1.RoleBinding",
        generation_on=(),
    ),
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="Role",
        plural="roles",
        namespaced=True,
        type="rbac/v1.Role",
        generation_on=(),
    ),
)
