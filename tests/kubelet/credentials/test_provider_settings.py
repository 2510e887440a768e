"""Configurations of plugins that have credentials: what is read, and what is refused in which words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tiphys.cluster.configure import Wanted, configure
from tiphys.cluster.layout import ClusterError
from tiphys.kubelet.credentials.settings import (
    BadProviders,
    Provider,
    ProviderSettings,
    TokenAttributes,
    read,
)

V1 = "credentialprovider.kubelet.k8s.io/v1"
ROW = {"name": "plain", "matchImages": ["*.example.com"], "defaultCacheDuration": "1m", "apiVersion": V1}
TOKEN = {"serviceAccountTokenAudience": "registry", "cacheType": "ServiceAccount", "requireServiceAccount": True}  # fmt: skip


class Place:
    """A directory with programs, and a file that names them."""

    def __init__(self, directory: Path) -> None:
        self.programs = directory / "bin"
        self.programs.mkdir()
        self.file = directory / "providers.yaml"
        for name in ("plain", "other"):
            self.program(name)

    def program(self, name: str, mode: int = 0o755) -> None:
        (self.programs / name).write_text("#!/bin/sh\n")
        (self.programs / name).chmod(mode)

    def write(self, *rows: Any, file: Path | None = None, **fields: Any) -> Path:
        head = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        path = file or self.file
        path.write_text(json.dumps({**head, "providers": list(rows), **fields}))
        return path

    def read(self) -> ProviderSettings:
        found = read(str(self.file), str(self.programs))
        assert found is not None
        return found

    def problem(self, *rows: Any, **fields: Any) -> str:
        self.write(*rows, **fields)
        with pytest.raises(BadProviders) as caught:
            self.read()
        return str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_nothing_is_said_of_plugins() -> None:
    assert read("", "") is None


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_what_a_file_says(place: Place, version: str) -> None:
    token = {**TOKEN, "optionalServiceAccountAnnotationKeys": ["example.com/role"]}
    place.write(
        {**ROW, "args": ["a"], "env": [{"name": "X", "value": "1"}], "tokenAttributes": token},
        {**ROW, "name": "other", "defaultCacheDuration": "0s", "apiVersion": f"{V1}beta1"},
        apiVersion=f"kubelet.config.k8s.io/{version}",
    )
    found = place.read()
    wanted = TokenAttributes("registry", "ServiceAccount", True, (), ("example.com/role",))
    assert found.providers == (
        Provider("plain", ("*.example.com",), 60.0, V1, ("a",), {"X": "1"}, wanted),
        Provider("other", ("*.example.com",), 0.0, f"{V1}beta1"),
    )
    data = place.file.read_bytes()
    digest = hashlib.sha256(len(data).to_bytes(8, "big") + data).hexdigest()
    assert found.digest == f"sha256:{digest}"


def test_the_files_of_a_directory_are_one_list_in_the_order_of_their_names(
    place: Place, tmp_path: Path
) -> None:
    directory = tmp_path / "several"
    directory.mkdir()
    place.write({**ROW, "name": "other"}, file=directory / "b.json")
    place.write(ROW, file=directory / "a.yml")
    place.write({**ROW, "name": "unseen"}, file=directory / "c.txt")
    place.file = directory
    assert [provider.name for provider in place.read().providers] == ["plain", "other"]
    place.write(ROW, file=directory / "d.yaml")
    with pytest.raises(BadProviders, match='duplicate provider name "plain" found in configuration file'):
        place.read()
    empty = tmp_path / "empty"
    empty.mkdir()
    place.file = empty
    with pytest.raises(BadProviders, match=f'no configuration files found in directory "{empty}"'):
        place.read()


REQUIRED = "failed to validate credential provider config: providers"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], f"{REQUIRED}: Required value: at least 1 item in plugins is required"),
        ([{**ROW, "name": "a/b"}], f"{REQUIRED}.name: Invalid value: \"a/b\": provider name cannot contain '/'"),
        ([{**ROW, "name": "a b"}], f"{REQUIRED}.name: Invalid value: \"a b\": provider name cannot contain spaces"),
        ([{**ROW, "name": ".."}], f"{REQUIRED}.name: Invalid value: \"..\": provider name cannot be '..'"),
        ([{**ROW, "apiVersion": ""}], f"{REQUIRED}.apiVersion: Required value"),
        (
            [{**ROW, "apiVersion": "v2"}],
            f'{REQUIRED}.apiVersion: Unsupported value: "v2": supported values: "{V1}", "{V1}alpha1", "{V1}beta1"',
        ),
        ([{**ROW, "matchImages": []}], f"{REQUIRED}.matchImages: Required value: at least 1 item in matchImages is required"),
        ([{**ROW, "defaultCacheDuration": None}], f"{REQUIRED}.defaultCacheDuration: Required value"),
        (
            [{**ROW, "defaultCacheDuration": "-1s"}],
            f'{REQUIRED}.defaultCacheDuration: Invalid value: "-1s": must be greater than or equal to 0',
        ),
        (
            [{**ROW, "tokenAttributes": {**TOKEN, "cacheType": ""}}],
            f"{REQUIRED}.tokenAttributes.cacheType: Required value: cacheType is required to be set when tokenAttributes is "
            "specified. Supported values are: ServiceAccount, Token",
        ),
        (
            [{**ROW, "apiVersion": f"{V1}beta1", "tokenAttributes": TOKEN}],
            f"{REQUIRED}.tokenAttributes: Forbidden: tokenAttributes is only supported for {V1} API version",
        ),
        (
            [{**ROW, "tokenAttributes": {**TOKEN, "requireServiceAccount": None}}],
            f"{REQUIRED}.tokenAttributes.requireServiceAccount: Required value",
        ),
        (
            [{**ROW, "tokenAttributes": {**TOKEN, "requireServiceAccount": False, "requiredServiceAccountAnnotationKeys": ["a"]}}],
            f"{REQUIRED}.tokenAttributes.requiredServiceAccountAnnotationKeys: Forbidden: requireServiceAccount cannot be false "
            "when requiredServiceAccountAnnotationKeys is set",
        ),
        (
            [{**ROW, "tokenAttributes": {**TOKEN, "requiredServiceAccountAnnotationKeys": ["a"], "optionalServiceAccountAnnotationKeys": ["a"]}}],
            f'{REQUIRED}.tokenAttributes: Invalid value: ["a"]: annotation keys cannot be both required and optional',
        ),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(place: Place, rows: list[Any], message: str) -> None:
    assert place.problem(*rows) == message


def test_a_field_that_there_is_not_is_a_typing_error(place: Place) -> None:
    told = 'strict decoding error: unknown field "providers[0].matchImage"'
    assert place.problem({**ROW, "matchImage": []}) == f'error decoding config "{place.file}": {told}'
    told = 'no kind "Pod" is registered for version "v1"'
    assert place.problem(ROW, kind="Pod", apiVersion="v1") == f'error decoding config "{place.file}": {told}'
    told = 'time: invalid duration "soon"'
    said = place.problem({**ROW, "defaultCacheDuration": "soon"})
    assert said == f'error decoding config "{place.file}": {told}'


def test_programs_must_be_there(place: Place, tmp_path: Path) -> None:
    assert place.problem({**ROW, "name": "none"}) == (
        f"plugin binary executable {place.programs}/none did not exist"
    )
    (place.programs / "directory").mkdir()
    told = f"error inspecting binary executable {place.programs}/directory: permission denied"
    assert place.problem({**ROW, "name": "directory"}) == told
    with pytest.raises(BadProviders, match="plugin binary directory /no/where did not exist"):
        read(str(place.write(ROW)), "/no/where")
    with pytest.raises(BadProviders, match="credential provider config path is empty"):
        read("", str(place.programs))
    with pytest.raises(BadProviders, match=f'unable to access path "{tmp_path}/none.yaml": No such file'):
        read(str(tmp_path / "none.yaml"), str(place.programs))


def test_a_cluster_is_not_begun_with_a_bad_one(place: Place, tmp_path: Path) -> None:
    wanted = Wanted(
        "c",
        runtime="simulated",
        api_port=0,
        credential_provider_config=str(place.write()),
        credential_provider_bin_dir=str(place.programs),
    )
    with pytest.raises(ClusterError, match=f"--image-credential-provider-config {place.file}: failed to val"):
        configure(wanted, tmp_path)
    place.write(ROW)
    _, config = configure(wanted, tmp_path)
    _, again = configure(Wanted("c"), tmp_path)
    assert again.credential_provider_config == config.credential_provider_config == str(place.file)
    assert again.credential_provider_bin_dir == str(place.programs)
