"""The service account `default` in every namespace: pods that name none run as it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.resources import NAMESPACES, SERVICEACCOUNTS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Create, Plan
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta

NAME = "default"


def observe(namespace: Object, view: View) -> Object | None:
    return view.get(SERVICEACCOUNTS, NAME, meta.name(namespace))


def plan(namespace: Object, observed: Object | None, now: datetime) -> Plan:
    if observed is not None or meta.is_deleting(namespace):
        return NOTHING
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": NAME, "namespace": meta.name(namespace)},
    }
    return Plan((Create(SERVICEACCOUNTS, account),), reason="it has no default service account")


def keys_of_account(account: Object, view: View) -> Iterable[str]:
    return (meta.namespace(account),) if meta.name(account) == NAME else ()


CONTROLLER = Controller(
    name="serviceaccount-controller",
    kind=NAMESPACES,
    observe=observe,
    plan=plan,
    watches=[Watch(SERVICEACCOUNTS, keys_of_account, changed=lambda old, new: False)],
)
