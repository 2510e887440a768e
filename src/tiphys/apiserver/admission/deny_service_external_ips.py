"""DenyServiceExternalIPs: nobody takes traffic to addresses that are not theirs (CVE-2020-8554). What uses some already may keep them."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes


class DenyServiceExternalIPs:
    name = "DenyServiceExternalIPs"

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in (CREATE, UPDATE) or not attributes.is_for("", "services"):
            return
        assert attributes.object is not None
        before = (attributes.old or {}).get("spec") or {}
        new = set(attributes.object["spec"].get("externalIPs") or ())
        if not new <= set(before.get("externalIPs") or ()):
            raise attributes.forbidden("Use of external IPs is denied by admission control")
