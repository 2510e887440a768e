"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached, unless it says otherwise."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes

NOT_READY, UNREACHABLE = _KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds:
    name = "DefaultTolerationSeconds"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return attributes.operation in (CREATE, UPDATE) and attributes.is_for("", "pods")

    def admit(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        spec = attributes.object["spec"]
        tolerations = spec.get("tolerations") or []
        missing = list(_KEYS)
        for toleration in tolerations:
            if toleration.get("effect", "") in ("", "NoExecute"):
                key = toleration.get("key", "")
                if not key:
                    return
                if key in missing:
                    missing.remove(key)
        if not missing:
            return
        settings = attributes.call.server.settings
        seconds = {
            NOT_READY: settings.default_not_ready_toleration_seconds,
            UNREACHABLE: settings.default_unreachable_toleration_seconds,
        }
        spec["tolerations"] = [
            *tolerations,
            *(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds[key]}
                for key in missing
            ),
        ]
