"""clusterTrustBundle sources: certificates of authorities from ClusterTrustBundles, by name or by signer and labels (KEP-3257)."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from tiphys.kubelet.volumes.request import Lookups, VolumeFailure
from tiphys.machinery import meta
from tiphys.machinery.selectors.labels import label_selector_from_dict

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_BLOCK = re.compile(f"{_BEGIN}(.*?){_END}", re.DOTALL)


async def collect(wanted: Mapping[str, Any], lookups: Lookups) -> str:
    """The certificates, each once, without anything between them. Raises VolumeFailure."""
    is_optional = bool(wanted.get("optional"))
    try:
        bundles = await lookups.bundles()
    except VolumeFailure:
        if is_optional:
            return ""
        raise
    if wanted.get("name"):
        name = wanted["name"]
        chosen = [bundle for bundle in bundles if meta.name(bundle) == name]
        if not chosen and not is_optional:
            raise VolumeFailure(f'clustertrustbundle.certificates.k8s.io "{name}" not found')
    else:
        chosen = [bundle for bundle in bundles if _is_selected(bundle, wanted)]
        if not chosen and not is_optional:
            raise VolumeFailure(
                "combination of signerName and labelSelector matched zero ClusterTrustBundles"
            )
    texts = (bundle["spec"].get("trustBundle") or "" for bundle in chosen)
    certificates = {base64.b64decode(block) for text in texts for block in _BLOCK.findall(text)}
    return "".join(map(_pem, sorted(certificates)))


def _pem(certificate: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(certificate).decode(), 64)
    return "\n".join([_BEGIN, *lines, _END, ""])


def _is_selected(bundle: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """No selector selects nothing; an empty one everything of the signer."""
    selector = wanted.get("labelSelector")
    if selector is None or bundle["spec"].get("signerName", "") != wanted.get("signerName"):
        return False
    return label_selector_from_dict(selector).matches(meta.labels(bundle))
