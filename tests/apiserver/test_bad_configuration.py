"""Every file that the API server reads at its start: what is wrong is said with the file, the line where there is one, and the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiphys.apiserver.admission.chain import Chain
from tiphys.apiserver.admission.configuration import read_configurations
from tiphys.apiserver.audit.policy import read_policy
from tiphys.apiserver.authentication.oidc.setup import configuration as identity_providers
from tiphys.apiserver.authentication.setup import request_headers, signer
from tiphys.apiserver.authentication.static_tokens import BadTokenFile, read_token_file
from tiphys.apiserver.authorization.modes import read_file as read_authorizers
from tiphys.apiserver.config_reloads import ConfigReloads
from tiphys.apiserver.encryption.setup import encryption
from tiphys.apiserver.service_dialer import ServiceDialer
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, KubeconfigWebhook
from tiphys.machinery.clock import SystemClock
from tiphys.machinery.metrics import ALPHA, Registry
from tiphys.machinery.yaml_lines import placed
from tiphys.store.memory import MemoryStore

AUTHENTICATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://issuer.example.com
    audiences: [a]
  claimMappings:
    username: {claim: sub, prefix: ""}
"""
AUTHORIZATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- name: rbac
  type: RBAC
"""
ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - identity: {}
"""
ADMISSION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults:
      enforce: baseline
"""
AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  users: [a]
"""
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
contexts:
- name: c
  context: {cluster: c}
clusters:
- name: c
  cluster:
    server: https://webhook.example.com
"""
EVENTS = """\
apiVersion: eventratelimit.admission.k8s.io/v1alpha1
kind: Configuration
limits:
- type: Server
  qps: 50
  burst: 100
"""


def _encryption(path: Path) -> None:
    settings = Settings(b"", encryption_provider_config=str(path))
    reloads = ConfigReloads(Registry(), "encryption", "", ALPHA)
    assert encryption(settings, MemoryStore(), SystemClock(), reloads) is not None


def _credentials(settings: Settings) -> None:
    signer(settings)
    request_headers(settings)


def _admission(path: Path) -> None:
    Chain(configurations=read_configurations(str(path)))


def _events(path: Path) -> None:
    """A plugin's own file."""
    outer = path.with_name("outer.yaml")
    outer.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
        f"plugins:\n- name: EventRateLimit\n  path: {path.name}\n"
    )
    Chain(enable=["EventRateLimit"], configurations=read_configurations(str(outer)))


def _kubeconfig(path: Path) -> None:
    KubeconfigWebhook(path, ServiceDialer(lambda group, plural: None, None))  # type: ignore[arg-type,return-value]


@dataclass(frozen=True)
class Kind:
    """`line`: the first line of what is changed, `where` it stands; `typed` and `mistyped` are the same with another type or another name."""

    text: str
    read: Callable[[Path], object]
    good: str
    typed: str
    mistyped: str
    where: str
    reason_of_type: str


KINDS = {
    "authentication": Kind(
        AUTHENTICATION,
        lambda path: identity_providers(Settings(b"", authentication_config=str(path))),
        "audiences: [a]",
        "audiences: 7",
        "audiencs: [a]",
        "jwt[0].issuer",
        "has a value of another type",
    ),
    "authorization": Kind(
        AUTHORIZATION,
        read_authorizers,
        "type: RBAC",
        "type: [7]",
        "typ: RBAC",
        "authorizers[0]",
        "has a value of another type",
    ),
    "encryption": Kind(
        ENCRYPTION,
        _encryption,
        "- identity: {}",
        "- identity: 7",
        "- identty: {}",
        "resources[0].providers[0]",
        "must be an object",
    ),
    "admission": Kind(
        ADMISSION,
        _admission,
        "enforce: baseline",
        "enforce: [7]",
        "enforc: baseline",
        "defaults",
        "must be one of privileged, baseline, restricted",
    ),
    "a plugin": Kind(EVENTS, _events, "qps: 50", "qps: [7]", "qpz: 50", "limits[0]", "limits[0].qps"),
    "audit": Kind(AUDIT, read_policy, "users: [a]", "users: 7", "usrs: [a]", "rules[0]", "must be a list"),
    "webhook": Kind(
        KUBECONFIG,
        _kubeconfig,
        "server: https://webhook.example.com",
        "server: [7]",
        "servr: https://webhook.example.com",
        "clusters[0].cluster",
        "its cluster has no server",
    ),
}


def complaint(kind: Kind, path: Path) -> str:
    with pytest.raises((ConfigurationError, KubeconfigError)) as raised:
        kind.read(path)
    text = str(raised.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize("name", KINDS)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, name: str) -> None:
    kind, path = KINDS[name], tmp_path / "file.yaml"
    path.write_text(kind.text)
    kind.read(path)
    line = line_of(kind.text, kind.good)

    path.write_text(kind.text.replace(kind.good, f"{kind.good}: ["))
    assert f"yaml: line {line}" in (found := complaint(kind, path)) or f"line {line + 1}" in found

    path.write_text(kind.text.replace(kind.good, kind.mistyped))
    found = complaint(kind, path)
    place = f"{kind.where}.{kind.mistyped.strip('- ').partition(':')[0]}"
    # A kubeconfig may have fields that nobody knows: what is missed is said.
    assert f'unknown field "{place}"' in found or (name == "webhook" and kind.reason_of_type in found)
    assert f": line {line - (name == 'webhook')}: " in found

    path.write_text(kind.text.replace(kind.good, kind.typed))
    found = complaint(kind, path)
    assert kind.reason_of_type in found
    assert f": line {line}: " in found

    path.write_bytes(b"")
    complaint(kind, path)
    path.write_bytes(b"[1, 2]\n")
    complaint(kind, path)
    path.write_bytes(b"\x00\xff\xfe")
    complaint(kind, path)
    path.write_text(kind.text + kind.text.partition("\n")[0] + "\n")
    assert 'key "apiVersion" already set in map' in complaint(kind, path)
    path.unlink()
    assert "No such file or directory" in complaint(kind, path)
    path.mkdir()
    assert "Is a directory" in complaint(kind, path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("t,u,1\nx,y\n", ":2: a line needs at least 3 columns (token,user,uid), this one has 2"),
        ("t,u,1\n\n,u,1\n", ":3: the token and the user must not be empty"),
        ("t,u,1\nt,v,2\n", ":2: this token stands in the file twice"),
        ('t,u,1\nx,"y\nz,u,3\n', ":2: a line needs at least 3 columns"),
    ],
)
def test_a_file_of_tokens(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(BadTokenFile) as raised:
        read_token_file(path)
    assert f"{path}{problem}" in str(raised.value)


@pytest.mark.parametrize(
    ("flag", "field", "several", "reason"),
    [
        (
            "service-account-signing-key-file",
            "service_account_signing_key_file",
            False,
            "data does not contain a valid RSA or ECDSA private key",
        ),
        (
            "service-account-key-file",
            "service_account_key_files",
            True,
            "data does not contain any valid RSA or ECDSA public keys",
        ),
        (
            "requestheader-client-ca-file",
            "requestheader_client_ca_file",
            False,
            "data does not contain any valid certificates",
        ),
    ],
)
def test_files_of_keys(tmp_path: Path, flag: str, field: str, several: bool, reason: str) -> None:
    path = tmp_path / "key"
    value: object = (str(path),) if several else str(path)
    settings = Settings(b"", **{field: value})  # type: ignore[arg-type]

    def refused() -> str:
        with pytest.raises(ConfigurationError) as raised:
            _credentials(settings)
        return str(raised.value)

    assert refused() == f"--{flag}: {path}: No such file or directory"
    path.write_text("-----BEGIN RUBBISH-----")
    assert refused() == f"--{flag}: {path}: {reason}"


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ('unknown field "a.b[1].c"', "line 4: "),
        ("a.b[1].d: Required value", "line 4: "),
        ("a.b[7]: Invalid value", "line 2: "),
        ("it is no object", ""),
        ("x.y: who knows", ""),
        ("a: Invalid value: see a.b[1].c", "line 1: "),
    ],
)
def test_the_line_of_what_a_complaint_names(problem: str, expected: str) -> None:
    text = "a:\n  b:\n  - 1\n  - c: 2\n"
    assert placed(text, problem) == f"{expected}{problem}"


def test_a_line_is_never_an_error_of_its_own() -> None:
    assert placed(b"a: [", "a: wrong") == "a: wrong"
    assert placed(b"", "a: wrong") == "a: wrong"
    assert placed("a: 1\n", "b: wrong", below="a") == "line 1: b: wrong"
