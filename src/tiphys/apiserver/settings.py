"""What an API server is told at its start. `flags.py` has the names by which kube-apiserver calls most of it."""

from __future__ import annotations

from tiphys.apiserver.aggregation.identity import FrontProxy
from tiphys.machinery.frozen import frozen


class ConfigurationError(Exception):
    """A setting or a file that the server will not start with: one line that says which, where and why."""


@frozen
class Settings:
    """What differs from cluster to cluster."""

    signing_key_pem: bytes
    issuers: tuple[str, ...] = ("https://kubernetes.default.svc.cluster.local",)
    """The first is written into service accounts' tokens, all are accepted."""
    api_audiences: tuple[str, ...] = ()
    """What tokens for this server are for; empty: the first issuer."""
    service_account_signing_key_file: str = ""
    service_account_key_files: tuple[str, ...] = ()
    """Public keys that verify; empty: the one that signs."""
    service_account_jwks_uri: str = ""
    service_account_max_token_seconds: float = 0.0
    service_account_extend_tokens: bool = True
    """Tokens of pods that ask for 3607 seconds live for a year; what is used after its hour is written to the audit log."""
    service_cidr: str = "10.96.0.0/16"
    advertised: str = "127.0.0.1:6443"
    front_proxy: FrontProxy | None = None
    """How other API servers know this one."""
    client_ca: bytes = b""
    """PEM of the authority of client certificates, for other API servers to accept them too."""
    optional_groups: tuple[str, ...] = ()
    """Of `tiphys.api.scheme.OPTIONAL_GROUPS`, those that are served."""
    runtime_config: tuple[tuple[str, str], ...] = ()
    """Group versions, "true" or "false": whether they are served."""
    feature_gates: tuple[tuple[str, str], ...] = ()
    """Gates of `features.py`, "true" or "false"."""
    fairness: bool = True
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    """With fairness, both together are the seats that priority levels share."""
    request_timeout_seconds: float = 60.0
    min_request_timeout_seconds: float = 1800.0
    """The shortest time after which a watch is ended that does not say how long it wants to last."""
    shutdown_delay_seconds: float = 0.0
    """How long requests are still taken after /readyz has begun to say that the server is going."""
    cors_allowed_origins: tuple[str, ...] = ()
    anonymous_auth: bool = True
    bootstrap_tokens: bool = True
    token_auth_file: str = ""
    authentication_token_webhook_config_file: str = ""
    authentication_token_webhook_version: str = "v1beta1"
    authentication_token_webhook_kept_seconds: float = 120.0
    authentication_config: str = ""
    """The file with other identity providers, and where anonymous requests are let in; read again when it changes."""
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: str = ""
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_required_claims: tuple[tuple[str, str], ...] = ()
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    requestheader_client_ca_file: str = ""
    """The authority of proxies that may speak for users; empty: nobody may."""
    requestheader_allowed_names: tuple[str, ...] = ()
    requestheader_username_headers: tuple[str, ...] = ("X-Remote-User",)
    requestheader_uid_headers: tuple[str, ...] = ("X-Remote-Uid",)
    requestheader_group_headers: tuple[str, ...] = ("X-Remote-Group",)
    requestheader_extra_headers_prefix: tuple[str, ...] = ("X-Remote-Extra-",)
    audit_policy_file: str = ""
    audit_log_path: str = ""
    audit_log_max_megabytes: int = 100
    audit_log_max_backups: int = 0
    audit_log_max_age_days: int = 0
    audit_log_compress: bool = False
    audit_log_format: str = "json"
    audit_log_version: str = "audit.k8s.io/v1"
    audit_log_mode: str = "blocking"
    """How requests depend on it that their events are written: batch, blocking, blocking-strict."""
    audit_log_batch_buffer_size: int = 10_000
    audit_log_batch_max_size: int = 1
    audit_log_batch_max_wait_seconds: float = 0.0
    audit_log_batch_throttle: bool = False
    audit_log_batch_throttle_qps: float = 0.0
    audit_log_batch_throttle_burst: int = 0
    audit_log_truncate: bool = False
    audit_log_truncate_max_batch_bytes: int = 10 << 20
    audit_log_truncate_max_event_bytes: int = 100 << 10
    audit_webhook_config_file: str = ""
    """A kubeconfig that says to whom audit events are sent; empty: to nobody."""
    audit_webhook_version: str = "audit.k8s.io/v1"
    audit_webhook_mode: str = "batch"
    audit_webhook_truncate: bool = False
    audit_webhook_truncate_max_batch_bytes: int = 10 << 20
    audit_webhook_truncate_max_event_bytes: int = 100 << 10
    audit_webhook_initial_backoff_seconds: float = 10.0
    audit_webhook_batch_buffer_size: int = 10_000
    audit_webhook_batch_max_size: int = 400
    audit_webhook_batch_max_wait_seconds: float = 30.0
    audit_webhook_batch_throttle: bool = True
    audit_webhook_batch_throttle_qps: float = 10.0
    audit_webhook_batch_throttle_burst: int = 15
    identity: str = ""
    """By which metrics tell this server from others of the cluster."""
    authorization_mode: tuple[str, ...] = ("Node", "RBAC")
    authorization_config: str = ""
    """The file that says the same and more; read again when it changes."""
    authorization_webhook_config_file: str = ""
    authorization_webhook_version: str = "v1beta1"
    authorization_webhook_authorized_seconds: float = 300.0
    authorization_webhook_unauthorized_seconds: float = 30.0
    encryption_provider_config: str = ""
    """The file that says how objects are encrypted in the store; empty: not at all."""
    encryption_reload: bool = False
    admission_control_config_file: str = ""
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    default_not_ready_toleration_seconds: int = 300
    default_unreachable_toleration_seconds: int = 300
    """How long pods that do not say so stay on a node that is lost."""
