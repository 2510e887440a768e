"""kube-apiserver's own switches, as `tiphys up --apiserver-arg NAME=VALUE` passes them on.

One row a flag: upstream's name, how its value is read, and the field of Settings that it sets. A flag that is not here is
refused rather than ignored: nobody shall believe that something is switched on that is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tiphys.apiserver import features
from tiphys.apiserver.admission.chain import UnknownPlugin, enabled
from tiphys.apiserver.settings import Settings
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import parse_duration, quote


class FlagError(Exception):
    """One line: the flag, and what is wrong with it."""


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "t", "f", ""):
        raise ValueError("it must be true or false")
    return text.lower() in ("true", "1", "t", "")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("it must not be negative")
    return number


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _one(text: str) -> tuple[str, ...]:
    return (text,)


def _pair(text: str) -> tuple[tuple[str, str], ...]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text} must be formatted as key=value")
    return ((key.strip(), value.strip()),)


def _token_seconds(text: str) -> float:
    seconds = parse_duration(text)
    if seconds and not 3600 <= seconds <= 1 << 32:
        raise ValueError("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds")
    return seconds


def _versions(text: str) -> tuple[tuple[str, str], ...]:
    """`api/beta=false`, `group/version=true`, `group/version/resource=false`, several separated by commas.

    Only what is not yet stable can be switched off.
    """
    found = []
    for word in _words(text):
        key, _, value = word.partition("=")
        is_served = _boolean(value)
        parts = key.split("/")
        if key not in _STAGES and (len(parts) not in (2, 3) or parts[0] == "api"):
            raise ValueError(f"runtime-config invalid key {key}")
        if not is_served and (key == "api/ga" or _is_stable(parts)):
            raise ValueError(f"{key} is stable, and is always served")
        found.append((key, str(is_served).lower()))
    if found == [("api/all", "false")]:
        raise ValueError("invalid key with only api/all=false")
    return tuple(found)


def _is_stable(parts: Sequence[str]) -> bool:
    return parts[0] != "api" and not re.fullmatch(r"v\d+(alpha|beta)\d+", parts[1])


_STAGES = ("api/all", "api/ga", "api/beta", "api/alpha")


def _gates(text: str) -> tuple[tuple[str, str], ...]:
    """`Name=true`, several separated by commas."""
    found = []
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"missing bool value for {name}")
        if name not in features.KNOWN:
            raise ValueError(f"unrecognized feature gate: {name}")
        if value.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise ValueError(
                f"invalid value of {name}={value}, err: strconv.ParseBool: parsing {quote(value)}: invalid syntax"
            )
        found.append((name, str(_boolean(value)).lower()))
    return tuple(found)


@frozen
class Flag:
    name: str
    read: Callable[[str], Any]
    field: str
    repeats: bool = False
    """Given several times, its values add up."""


FLAGS = (
    Flag("admission-control-config-file", str, "admission_control_config_file"),
    Flag("anonymous-auth", _boolean, "anonymous_auth"),
    Flag("api-audiences", _words, "api_audiences", repeats=True),
    Flag("audit-log-batch-buffer-size", int, "audit_log_batch_buffer_size"),
    Flag("audit-log-batch-max-size", int, "audit_log_batch_max_size"),
    Flag("audit-log-batch-max-wait", parse_duration, "audit_log_batch_max_wait_seconds"),
    Flag("audit-log-batch-throttle-burst", int, "audit_log_batch_throttle_burst"),
    Flag("audit-log-batch-throttle-enable", _boolean, "audit_log_batch_throttle"),
    Flag("audit-log-batch-throttle-qps", float, "audit_log_batch_throttle_qps"),
    Flag("audit-log-compress", _boolean, "audit_log_compress"),
    Flag("audit-log-format", str, "audit_log_format"),
    Flag("audit-log-maxage", _count, "audit_log_max_age_days"),
    Flag("audit-log-maxbackup", _count, "audit_log_max_backups"),
    Flag("audit-log-maxsize", _count, "audit_log_max_megabytes"),
    Flag("audit-log-mode", str, "audit_log_mode"),
    Flag("audit-log-path", str, "audit_log_path"),
    Flag("audit-log-truncate-enabled", _boolean, "audit_log_truncate"),
    Flag("audit-log-truncate-max-batch-size", int, "audit_log_truncate_max_batch_bytes"),
    Flag("audit-log-truncate-max-event-size", int, "audit_log_truncate_max_event_bytes"),
    Flag("audit-log-version", str, "audit_log_version"),
    Flag("audit-policy-file", str, "audit_policy_file"),
    Flag("audit-webhook-batch-buffer-size", int, "audit_webhook_batch_buffer_size"),
    Flag("audit-webhook-batch-max-size", int, "audit_webhook_batch_max_size"),
    Flag("audit-webhook-batch-max-wait", parse_duration, "audit_webhook_batch_max_wait_seconds"),
    Flag("audit-webhook-batch-throttle-burst", int, "audit_webhook_batch_throttle_burst"),
    Flag("audit-webhook-batch-throttle-enable", _boolean, "audit_webhook_batch_throttle"),
    Flag("audit-webhook-batch-throttle-qps", float, "audit_webhook_batch_throttle_qps"),
    Flag("audit-webhook-config-file", str, "audit_webhook_config_file"),
    Flag("audit-webhook-initial-backoff", parse_duration, "audit_webhook_initial_backoff_seconds"),
    Flag("audit-webhook-mode", str, "audit_webhook_mode"),
    Flag("audit-webhook-truncate-enabled", _boolean, "audit_webhook_truncate"),
    Flag("audit-webhook-truncate-max-batch-size", int, "audit_webhook_truncate_max_batch_bytes"),
    Flag("audit-webhook-truncate-max-event-size", int, "audit_webhook_truncate_max_event_bytes"),
    Flag("audit-webhook-version", str, "audit_webhook_version"),
    Flag("authentication-config", str, "authentication_config"),
    Flag(
        "authentication-token-webhook-cache-ttl",
        parse_duration,
        "authentication_token_webhook_kept_seconds",
    ),
    Flag("authentication-token-webhook-config-file", str, "authentication_token_webhook_config_file"),
    Flag("authentication-token-webhook-version", str, "authentication_token_webhook_version"),
    Flag("authorization-config", str, "authorization_config"),
    Flag("authorization-mode", _words, "authorization_mode", repeats=True),
    Flag(
        "authorization-webhook-cache-authorized-ttl",
        parse_duration,
        "authorization_webhook_authorized_seconds",
    ),
    Flag(
        "authorization-webhook-cache-unauthorized-ttl",
        parse_duration,
        "authorization_webhook_unauthorized_seconds",
    ),
    Flag("authorization-webhook-config-file", str, "authorization_webhook_config_file"),
    Flag("authorization-webhook-version", str, "authorization_webhook_version"),
    Flag("cors-allowed-origins", _words, "cors_allowed_origins", repeats=True),
    Flag("default-not-ready-toleration-seconds", int, "default_not_ready_toleration_seconds"),
    Flag("default-unreachable-toleration-seconds", int, "default_unreachable_toleration_seconds"),
    Flag("disable-admission-plugins", _words, "disable_admission_plugins", repeats=True),
    Flag("enable-admission-plugins", _words, "enable_admission_plugins", repeats=True),
    Flag("enable-bootstrap-token-auth", _boolean, "bootstrap_tokens"),
    Flag("encryption-provider-config", str, "encryption_provider_config"),
    Flag("encryption-provider-config-automatic-reload", _boolean, "encryption_reload"),
    Flag("enable-priority-and-fairness", _boolean, "fairness"),
    Flag("feature-gates", _gates, "feature_gates", repeats=True),
    Flag("max-mutating-requests-inflight", _count, "max_mutating_requests_inflight"),
    Flag("max-requests-inflight", _count, "max_requests_inflight"),
    Flag("min-request-timeout", float, "min_request_timeout_seconds"),
    Flag("oidc-ca-file", str, "oidc_ca_file"),
    Flag("oidc-client-id", str, "oidc_client_id"),
    Flag("oidc-groups-claim", str, "oidc_groups_claim"),
    Flag("oidc-groups-prefix", str, "oidc_groups_prefix"),
    Flag("oidc-issuer-url", str, "oidc_issuer_url"),
    Flag("oidc-required-claim", _pair, "oidc_required_claims", repeats=True),
    Flag("oidc-signing-algs", _words, "oidc_signing_algs", repeats=True),
    Flag("oidc-username-claim", str, "oidc_username_claim"),
    Flag("oidc-username-prefix", str, "oidc_username_prefix"),
    Flag("request-timeout", parse_duration, "request_timeout_seconds"),
    Flag("requestheader-allowed-names", _words, "requestheader_allowed_names", repeats=True),
    Flag("requestheader-client-ca-file", str, "requestheader_client_ca_file"),
    Flag("requestheader-extra-headers-prefix", _words, "requestheader_extra_headers_prefix", repeats=True),
    Flag("requestheader-group-headers", _words, "requestheader_group_headers", repeats=True),
    Flag("requestheader-uid-headers", _words, "requestheader_uid_headers", repeats=True),
    Flag("requestheader-username-headers", _words, "requestheader_username_headers", repeats=True),
    Flag("runtime-config", _versions, "runtime_config", repeats=True),
    Flag("service-account-extend-token-expiration", _boolean, "service_account_extend_tokens"),
    Flag("service-account-issuer", _one, "issuers", repeats=True),
    Flag("service-account-jwks-uri", str, "service_account_jwks_uri"),
    Flag("service-account-key-file", _one, "service_account_key_files", repeats=True),
    Flag("service-account-max-token-expiration", _token_seconds, "service_account_max_token_seconds"),
    Flag("service-account-signing-key-file", str, "service_account_signing_key_file"),
    Flag("shutdown-delay-duration", parse_duration, "shutdown_delay_seconds"),
    Flag("token-auth-file", str, "token_auth_file"),
)

_BY_NAME = {flag.name: flag for flag in FLAGS}


def apply(settings: Settings, arguments: Sequence[str]) -> Settings:
    """The settings after `name=value` arguments (leading dashes are allowed). Raises FlagError."""
    changes: dict[str, Any] = {}
    for argument in arguments:
        name, equals, value = argument.lstrip("-").partition("=")
        flag = _BY_NAME.get(name)
        if flag is None:
            raise FlagError(f"unknown flag: --{name}")
        if not equals and flag.read is not _boolean:
            raise FlagError(f"flag needs an argument: --{name}")
        try:
            found = flag.read(value)
        except ValueError as error:
            raise FlagError(f'invalid argument "{value}" for "--{name}" flag: {error}') from None
        if flag.repeats and flag.field in changes:
            found = (*changes[flag.field], *found)
        changes[flag.field] = found
    changed = replace(settings, **changes)
    try:
        enabled(changed.enable_admission_plugins, changed.disable_admission_plugins)
    except UnknownPlugin as error:
        raise FlagError(str(error)) from None
    _check_modes(changed.authorization_mode)
    if changed.encryption_reload and not changed.encryption_provider_config:
        raise FlagError(
            "--encryption-provider-config-automatic-reload must be set with --encryption-provider-config"
        )
    return changed


MODES = ("Node", "RBAC", "Webhook", "AlwaysAllow", "AlwaysDeny")


def _check_modes(modes: tuple[str, ...]) -> None:
    for mode in modes:
        if mode not in MODES:
            raise FlagError(f'authorization-mode "{mode}" is not a valid mode; there are: {", ".join(MODES)}')
    if len(set(modes)) != len(modes):
        raise FlagError(f"authorization-mode {modes} has mode specified more than once")


def shown(settings: Settings) -> dict[str, str]:
    """The settings under the names of the flags (for /flagz)."""
    return {flag.name: _shown(flag, getattr(settings, flag.field)) for flag in FLAGS} | {
        "profiling": "false",
        "service-cluster-ip-range": settings.service_cidr,
    }


def _shown(flag: Flag, value: Any) -> str:
    return _duration(value) if flag.read in (parse_duration, _token_seconds) else _text(value)


def _duration(seconds: float) -> str:
    """As Go writes one: 1m0s, 1h0m0.5s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    longer = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{longer}{rest:g}s"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{','.join(each if isinstance(each, str) else '='.join(each) for each in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
