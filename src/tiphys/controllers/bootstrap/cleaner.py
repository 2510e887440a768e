"""Deletes bootstrap tokens when they expire (`pkg/controller/bootstrap/tokencleaner.go`). Off by default; kubeadm, and `up`, turn it on."""

from __future__ import annotations

from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.resources import SECRETS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Delete, Plan
from tiphys.controllers.bootstrap.tokens import expiration, is_token
from tiphys.controllers.runner import Controller
from tiphys.machinery import meta


def observe(secret: Object, view: View) -> None:
    del secret, view


def plan(secret: Object, observed: None, now: datetime) -> Plan:
    end = expiration(secret) if is_token(secret) else None
    if end is None:
        return NOTHING
    left = (end - now).total_seconds()
    if left > 0:
        return Plan((), left, f"it is good until {meta.format_time(end)}")
    deletion = Delete(SECRETS, meta.name(secret), meta.namespace(secret), uid=meta.uid(secret))
    return Plan((deletion,), reason="it has expired")


CONTROLLER = Controller(name="token-cleaner-controller", kind=SECRETS, observe=observe, plan=plan)
