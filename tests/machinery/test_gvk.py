"""Names of kinds and resources as text."""

import pytest

from tiphys.machinery.gvk import (
    GroupKind,
    GroupResource,
    GroupVersion,
    GroupVersionKind,
    GroupVersionResource,
    parse_api_version,
    parse_group_kind,
    parse_group_resource,
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (GroupKind("", "Pod"), "Pod"),
        (GroupKind("apps", "Deployment"), "Deployment.apps"),
        (GroupResource("", "pods"), "pods"),
        (GroupResource("apps", "deployments"), "deployments.apps"),
        (GroupVersion("", "v1"), "v1"),
        (GroupVersion("apps", "v1"), "apps/v1"),
        (GroupVersionKind("", "v1", "Pod"), "/v1, Kind=Pod"),
        (GroupVersionKind("apps", "v1", "Deployment"), "apps/v1, Kind=Deployment"),
        (GroupVersionResource("apps", "v1", "deployments"), "apps/v1, Resource=deployments"),
    ],
)
def test_texts(name: tuple[str, ...], text: str) -> None:
    assert str(name) == text
    assert f"{name}" == text


def test_parts() -> None:
    kind = GroupVersion("apps", "v1").with_kind("Deployment")
    assert kind == ("apps", "v1", "Deployment")
    assert kind.api_version == "apps/v1"
    assert kind.group_kind == GroupKind("apps", "Deployment")
    assert kind.group_version == GroupVersion("apps", "v1")
    resource = GroupVersion("", "v1").with_resource("pods")
    assert resource.group_resource == GroupResource("", "pods")
    assert resource.group_version == GroupVersion("", "v1")
    assert GroupVersionKind("", "v1", "Pod").api_version == "v1"


def test_parsing() -> None:
    assert parse_api_version("v1") == GroupVersion("", "v1")
    assert parse_api_version("apps/v1") == GroupVersion("apps", "v1")
    assert parse_api_version("") == GroupVersion("", "")
    assert parse_group_resource("ingresses.networking.k8s.io") == GroupResource(
        "networking.k8s.io", "ingresses"
    )
    assert parse_group_kind("Pod") == GroupKind("", "Pod")
    with pytest.raises(ValueError, match="unexpected GroupVersion string: a/b/c"):
        parse_api_version("a/b/c")
