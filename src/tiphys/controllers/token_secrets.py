"""Fills secrets of type kubernetes.io/service-account-token with a token for the account that they name, and removes those of accounts
that are no more (`pkg/controller/serviceaccount/tokens_controller.go`). No secret is made here: accounts have none of their own since v1.24.

A token in a secret never expires: who wants one asks for it by creating the secret. Signing is the API server's (`Options.token`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.resources import SECRETS, SERVICEACCOUNTS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Delete, Plan, Update
from tiphys.controllers.catalog import Options
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.frozen import frozen

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"


@frozen
class Observed:
    account: Object | None = None
    """The one that the secret names, if it is that one."""
    is_asked: bool = False
    """Whether the API server was asked, too: a cache may not show a new account yet."""


def is_token(secret: Object) -> bool:
    return secret.get("type") == TYPE


def account_of(secret: Object, account: Object | None) -> Object | None:
    """The account, when the secret is one of its own: a uid in the secret, if there is one, must be the account's."""
    uid = meta.annotations(secret).get(ACCOUNT_UID)
    return account if account is not None and uid in (None, "", meta.uid(account)) else None


def make(options: Options) -> Controller[Observed]:
    """Without somebody who signs tokens it does nothing, as upstream's without --service-account-private-key-file."""
    accounts: dict[str, str] = {}
    """Of the secrets that were seen: a key says no more whose it was once the secret is gone."""

    def observe(secret: Object, view: View) -> Observed:
        if not is_token(secret):
            return Observed()
        name = meta.annotations(secret).get(ACCOUNT_NAME, "")
        accounts[meta.namespaced_name(secret)] = name
        return Observed(account_of(secret, view.get(SERVICEACCOUNTS, name, meta.namespace(secret))))

    def plan(secret: Object, observed: Observed, now: datetime) -> Plan:
        if options.token is None or not is_token(secret) or meta.is_deleting(secret):
            return NOTHING
        if observed.account is None:
            deletion = Delete(SECRETS, meta.name(secret), meta.namespace(secret), uid=meta.uid(secret))
            return Plan((deletion,), reason="its account is not there") if observed.is_asked else NOTHING
        data = _completed(secret, observed.account, options)
        if data == (secret.get("data") or {}):
            return NOTHING
        named = {ACCOUNT_NAME: meta.name(observed.account), ACCOUNT_UID: meta.uid(observed.account)}
        metadata = {**secret["metadata"], "annotations": {**meta.annotations(secret), **named}}
        return Plan(
            (Update(SECRETS, {**secret, "metadata": metadata, "data": data}),), reason="it is incomplete"
        )

    def gone(key: str, view: View) -> Plan:
        namespace, _, name = key.partition("/")
        account = view.get(SERVICEACCOUNTS, accounts.pop(key, ""), namespace)
        if account is None or name not in {each.get("name") for each in account.get("secrets") or ()}:
            return NOTHING
        kept = [each for each in account["secrets"] if each.get("name") != name]
        changed = {each: value for each, value in account.items() if each != "secrets"}
        if kept:
            changed["secrets"] = kept
        return Plan((Update(SERVICEACCOUNTS, changed),), reason="the account names a token that is gone")

    return Controller(
        name="serviceaccount-token-controller",
        kind=SECRETS,
        observe=observe,
        gather=gather,
        plan=plan,
        gone=gone,
        watches=[Watch(SERVICEACCOUNTS, keys_of_account, changed=_is_another)],
    )


async def gather(secret: Object, observed: Observed, client: Client) -> Observed:
    """What no cache shows the API server may know."""
    if not is_token(secret) or observed.account is not None:
        return observed
    name = meta.annotations(secret).get(ACCOUNT_NAME, "")
    try:
        found = await client.get(SERVICEACCOUNTS, name, meta.namespace(secret))
    except StatusError as error:
        if not is_not_found(error):
            raise
        return replace(observed, is_asked=True)
    return Observed(account_of(secret, found), is_asked=True)


def _completed(secret: Object, account: Object, options: Options) -> dict[str, str]:
    data = dict(secret.get("data") or {})
    authority = b64encode(options.root_ca.encode()).decode()
    if options.root_ca and data.get("ca.crt") != authority:
        data["ca.crt"] = authority
    if not data.get("namespace"):
        data["namespace"] = b64encode(meta.namespace(secret).encode()).decode()
    if not data.get("token") and options.token is not None:
        data["token"] = b64encode(options.token(account, meta.name(secret)).encode()).decode()
    return data


def keys_of_account(account: Object, view: View) -> Iterable[str]:
    name = meta.name(account)
    for secret in view.list(SECRETS, meta.namespace(account)):
        if is_token(secret) and meta.annotations(secret).get(ACCOUNT_NAME) == name:
            yield meta.namespaced_name(secret)


def _is_another(old: Object, new: Object) -> bool:
    return meta.uid(old) != meta.uid(new)


def text(secret: Object, name: str) -> str:
    """A value of a secret; empty when there is none, or none that is text."""
    try:
        return b64decode((secret.get("data") or {}).get(name) or "").decode()
    except ValueError:
        return ""
