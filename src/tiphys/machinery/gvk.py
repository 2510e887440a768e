"""Names of kinds and resources: group, version, and a Kind (`Deployment`) or a resource (`deployments`).

The texts are those of apimachinery `runtime/schema`; error messages are made of them.
"""

from typing import NamedTuple


class GroupKind(NamedTuple):
    group: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


class GroupResource(NamedTuple):
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


class GroupVersionKind(NamedTuple):
    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> GroupKind:
        return GroupKind(self.group, self.kind)

    @property
    def group_version(self) -> "GroupVersion":
        return GroupVersion(self.group, self.version)

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


class GroupVersionResource(NamedTuple):
    group: str
    version: str
    resource: str

    @property
    def group_resource(self) -> GroupResource:
        return GroupResource(self.group, self.resource)

    @property
    def group_version(self) -> "GroupVersion":
        return GroupVersion(self.group, self.version)

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Resource={self.resource}"


class GroupVersion(NamedTuple):
    group: str
    version: str

    def with_kind(self, kind: str) -> GroupVersionKind:
        return GroupVersionKind(self.group, self.version, kind)

    def with_resource(self, resource: str) -> GroupVersionResource:
        return GroupVersionResource(self.group, self.version, resource)

    def __str__(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def parse_api_version(text: str) -> GroupVersion:
    """`"apps/v1"` or `"v1"`, as `apiVersion` has it. ValueError (upstream's text) when there is more than one slash."""
    if text in ("", "/"):
        return GroupVersion("", "")
    group, slash, version = text.partition("/")
    if not slash:
        return GroupVersion("", text)
    if "/" in version:
        raise ValueError(f"unexpected GroupVersion string: {text}")
    return GroupVersion(group, version)


def parse_group_resource(text: str) -> GroupResource:
    """`"deployments.apps"` or `"pods"`: everything after the first dot is the group."""
    resource, _, group = text.partition(".")
    return GroupResource(group, resource)


def parse_group_kind(text: str) -> GroupKind:
    """`"Deployment.apps"` or `"Pod"`: everything after the first dot is the group."""
    kind, _, group = text.partition(".")
    return GroupKind(group, kind)
