"""The kinds of the authorization.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="authorization.k8s.io",
        version="v1",
        kind="LocalSubjectAccessReview",
        plural="localsubjectaccessreviews",
        namespaced=True,
        verbs=("create",),
        type="authorization/v1.LocalSubjectAccessReview",
        virtual=True,
    ),
    Resource(
        group="authorization.k8s.io",
        version="v1",
        kind="SelfSubjectAccessReview",
        plural="selfsubjectaccessreviews",
        namespaced=False,
        verbs=("create",),
        type="authorization/v1.SelfSubjectAccessReview",
        virtual=True,
    ),
    Resource(
        group="authorization.k8s.io",
        version="v1",
        kind="SelfSubjectRulesReview",
        plural="selfsubjectrulesreviews",
        namespaced=False,
        verbs=("create",),
        type="authorization/v1.SelfSubjectRulesReview",
        virtual=True,
    ),
    Resource(
        group="authorization.k8s.io",
        version="v1",
        kind="SubjectAccessReview",
        plural="subjectaccessreviews",
        namespaced=False,
        verbs=("create",),
        type="authorization/v1.SubjectAccessReview",
        virtual=True,
    ),
)
