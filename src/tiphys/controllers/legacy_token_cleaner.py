"""Marks tokens in secrets that accounts got by themselves before v1.24 as invalid when nobody has used them for a year, and deletes them
another year later (`pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go`).

When a token was last used the API server says in a label; since when it says that, in a ConfigMap. Secrets that somebody made by hand are left alone:
only an account that names a secret says that it was not made so. Upstream looks at all once a day; so does every key here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.resources import CONFIGMAPS, PODS, SECRETS, SERVICEACCOUNTS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Delete, Patch, Plan
from tiphys.controllers.catalog import Options
from tiphys.controllers.runner import Controller
from tiphys.controllers.token_secrets import ACCOUNT_NAME, account_of, is_token
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.frozen import frozen

LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
TRACKING, TRACKING_NAMESPACE = "kube-apiserver-legacy-service-account-token-tracking", "kube-system"
DAY_SECONDS = 24 * 3600.0


@frozen
class Observed:
    is_candidate: bool = False
    """An account names it, and no pod uses it."""
    tracked_since: date | None = None


def observe(secret: Object, view: View) -> Observed:
    if not is_token(secret):
        return Observed()
    namespace, name = meta.namespace(secret), meta.name(secret)
    found = view.get(SERVICEACCOUNTS, meta.annotations(secret).get(ACCOUNT_NAME, ""), namespace)
    account = account_of(secret, found)
    if account is None or name not in {each.get("name") for each in account.get("secrets") or ()}:
        return Observed()
    used = any(name in secret_names(pod.get("spec") or {}) for pod in view.list(PODS, namespace))
    return Observed(is_candidate=not used)


async def gather(secret: Object, observed: Observed, client: Client) -> Observed:
    if not observed.is_candidate:
        return observed
    try:
        told = await client.get(CONFIGMAPS, TRACKING, TRACKING_NAMESPACE)
    except StatusError as error:
        if not is_not_found(error):
            raise
        return observed
    return replace(observed, tracked_since=_date((told.get("data") or {}).get("since")))


def make(options: Options) -> Controller[Observed]:
    period = timedelta(seconds=options.legacy_token_seconds)

    def plan(secret: Object, observed: Observed, now: datetime) -> Plan:
        if not is_token(secret) or meta.is_deleting(secret):
            return NOTHING
        limit = (now - period).date()
        if not observed.is_candidate or not _is_stale(secret, observed, now - period):
            return Plan((), DAY_SECONDS, "it is used, or may be")
        invalid_since = _date(meta.labels(secret).get(INVALID_SINCE))
        name, namespace = meta.name(secret), meta.namespace(secret)
        if invalid_since is None:
            labels = {INVALID_SINCE: f"{now:%Y-%m-%d}"}
            mark = Patch(SECRETS, name, {"metadata": {"uid": meta.uid(secret), "labels": labels}}, namespace)
            return Plan((mark,), DAY_SECONDS, "nobody has used it for long")
        if invalid_since >= limit:
            return Plan((), DAY_SECONDS, "it is invalid, and somebody may notice")
        deletion = Delete(SECRETS, name, namespace, resource_version=meta.resource_version(secret))
        return Plan((deletion,), reason="it has been invalid for long")

    return Controller(
        name="legacy-serviceaccount-token-cleaner-controller",
        kind=SECRETS,
        observe=observe,
        gather=gather,
        plan=plan,
        reads=(SERVICEACCOUNTS, PODS),
    )


def _is_stale(secret: Object, observed: Observed, limit: datetime) -> bool:
    """Whether it was neither made nor used since, as far as one was looking for long enough to know."""
    created, used = meta.creation_time(secret), meta.labels(secret).get(LAST_USED)
    # Looking begins for certain on the day after the one that is told.
    if observed.tracked_since is None or limit.date() < observed.tracked_since + timedelta(days=1):
        return False
    if created is None or created >= limit:
        return False
    if used is None:
        return True
    day = _date(used)
    return day is not None and day < limit.date()


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%d").date()
    except ValueError:
        return None


_REFERENCES = frozenset({"secretRef", "secretKeyRef", "nodePublishSecretRef"})


def secret_names(spec: Any) -> set[str]:
    """All secrets that a pod's spec names: pull secrets, environment, volumes of every kind."""
    return set(_names(spec))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _names(each)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "secretName" and isinstance(inner, str):
                yield inner
            elif key == "imagePullSecrets":
                yield from (each.get("name", "") for each in inner or ())
            elif key in _REFERENCES or (key == "secret" and isinstance(inner, dict) and "name" in inner):
                yield (inner or {}).get("name", "")
            else:
                yield from _names(inner)
