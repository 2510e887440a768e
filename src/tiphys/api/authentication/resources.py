"""The kinds of the authentication.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="authentication.k8s.io",
        version="v1",
        kind="SelfSubjectReview",
        plural="selfsubjectreviews",
        namespaced=False,
        verbs=("create",),
        type="authentication/v1.SelfSubjectReview",
        virtual=True,
    ),
    Resource(
        group="authentication.k8s.io",
        version="v1",
        kind="TokenReview",
        plural="tokenreviews",
        namespaced=False,
        verbs=("create",),
        type="authentication/v1.TokenReview",
        virtual=True,
    ),
)
