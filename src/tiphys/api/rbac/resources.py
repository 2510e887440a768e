"""The kinds of the rbac.authorization.k8s.io group."""

from __future__ import annotations

from tiphys.api.rbac import columns, defaults, validation
from tiphys.api.resource import Resource
from tiphys.machinery import names

RESOURCES = (
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRoleBinding",
        plural="clusterrolebindings",
        namespaced=False,
        type="rbac/v1.ClusterRoleBinding",
        defaults=defaults.binding,
        validate=validation.cluster_role_binding,
        name_errors=names.path_segment_name,
        table=columns.BINDING,
        create_on_update=True,
        generation_on=(),
    ),
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRole",
        plural="clusterroles",
        namespaced=False,
        type="rbac/v1.ClusterRole",
        defaults=defaults.role,
        validate=validation.cluster_role,
        name_errors=names.path_segment_name,
        create_on_update=True,
        generation_on=(),
    ),
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="RoleBinding",
        plural="rolebindings",
        namespaced=True,
        type="rbac/v1.RoleBinding",
        defaults=defaults.binding,
        validate=validation.role_binding,
        name_errors=names.path_segment_name,
        table=columns.BINDING,
        create_on_update=True,
        generation_on=(),
    ),
    Resource(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="Role",
        plural="roles",
        namespaced=True,
        type="rbac/v1.Role",
        defaults=defaults.role,
        validate=validation.role,
        name_errors=names.path_segment_name,
        create_on_update=True,
        generation_on=(),
    ),
)
