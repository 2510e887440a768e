"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached, unless it says otherwise."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes


class DefaultTolerationSeconds:
    name = "DefaultTolerationSeconds"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return attributes.operation in (CREATE, UPDATE) and attributes.is_for("", "pods")

    def admit(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        spec = attributes.object["spec"]
        settings = attributes.call.server.settings
        tolerations = spec.get("tolerations") or []
        added = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for key, seconds in (
                ("node.kubernetes.io/not-ready", settings.default_not_ready_toleration_seconds),
                ("node.kubernetes.io/unreachable", settings.default_unreachable_toleration_seconds),
            )
            if not any(
                toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")
                for toleration in tolerations
            )
        ]
        if added:
            spec["tolerations"] = [*tolerations, *added]
