"""Signs approved requests for the four signers of Kubernetes, with the cluster's authority (`pkg/controller/certificates/signer`).

The authority's key is in a file that only the control plane reads: it is named by the options, and never in the API.
"""

from __future__ import annotations

import base64
import logging
from datetime import datetime, timedelta
from pathlib import Path

from tiphys.client.cache import View
from tiphys.client.resources import CERTIFICATESIGNINGREQUESTS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, UpdateStatus
from tiphys.controllers.catalog import Options
from tiphys.controllers.certificates.authority import CannotSign, SigningAuthority
from tiphys.controllers.certificates.requests import SIGNERS, condition, parse, refusal
from tiphys.controllers.runner import Controller
from tiphys.machinery import meta

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0


def observe(csr: Object, view: View) -> None:
    del csr, view


def make(options: Options) -> Controller[None]:
    """Without an authority it signs nothing, as upstream's without --cluster-signing-cert-file."""
    authority = SigningAuthority(
        Path(options.signing_certificate_file),
        Path(options.signing_key_file),
        timedelta(seconds=options.signing_seconds),
    )

    def plan(csr: Object, observed: None, now: datetime) -> Plan:
        if not options.signing_key_file or not _is_due(csr):
            return NOTHING
        request = parse(csr)
        if request is None:
            return NOTHING
        spec = csr["spec"]
        usages = spec.get("usages") or []
        wrong = refusal(request, usages, spec["signerName"])
        status = dict(csr.get("status") or {})
        if wrong:
            status["conditions"] = [*(status.get("conditions") or ()), _failed(wrong, now)]
            reason = "its signer does not sign that"
        else:
            try:
                life = authority.life(spec.get("expirationSeconds"))
                signed = authority.sign(request, usages, life, now)
            except CannotSign as error:
                log.warning("%s is not signed: %s", meta.name(csr), error)
                return Plan((), RETRY_SECONDS, f"it cannot be signed: {error}")
            status["certificate"] = base64.b64encode(signed).decode()
            reason = "it is approved"
        return Plan((UpdateStatus(CERTIFICATESIGNINGREQUESTS, {**csr, "status": status}),), reason=reason)

    return Controller(
        name="certificatesigningrequest-signing-controller",
        kind=CERTIFICATESIGNINGREQUESTS,
        observe=observe,
        plan=plan,
    )


def _is_due(csr: Object) -> bool:
    if (csr.get("status") or {}).get("certificate") or csr["spec"].get("signerName") not in SIGNERS:
        return False
    if condition(csr, "Approved") is None or condition(csr, "Denied") is not None:
        return False
    return condition(csr, "Failed") is None


def _failed(message: str, now: datetime) -> Object:
    moment = meta.format_time(now)
    return {
        "type": "Failed",
        "status": "True",
        "reason": "SignerValidationFailure",
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }
