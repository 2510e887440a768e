"""ImagePolicyWebhook: a webhook that a kubeconfig names says which images may run; its answers are kept for a while.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#imagepolicywebhook
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.admission.configuration import BadConfiguration, Configuration, refuse_unknown
from tiphys.apiserver.service_dialer import ServiceDialer
from tiphys.apiserver.webhooks.client import WebhookError
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, KubeconfigWebhook
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.retry.backoff import Backoff
from tiphys.net.dial import dial

FAILED_OPEN = "alpha.image-policy.k8s.io/failed-open"
_AUDIT = "imagepolicywebhook.image-policy.k8s.io/"
_TIMEOUT_SECONDS = 30.0
_TRIES = 5
_KEPT = 1024
_FIELDS = ("kubeConfigFile", "allowTTL", "denyTTL", "retryBackoff", "defaultAllow")


@frozen
class ImagePolicy:
    """A lifetime of 0: such answers are not kept. `allows_on_failure`: when the webhook gives no answer."""

    kubeconfig: Path
    allow_seconds: float
    deny_seconds: float
    backoff: Backoff
    allows_on_failure: bool


class ImagePolicyWebhook:
    name = "ImagePolicyWebhook"

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._policy = read_policy(configuration)
        self._webhook = _webhook(self._policy.kubeconfig)
        self._answers: OrderedDict[bytes, tuple[float, Object]] = OrderedDict()

    async def close(self) -> None:
        await self._webhook.close()

    async def validate(self, attributes: Attributes) -> None:
        if (
            attributes.operation not in (CREATE, UPDATE)
            or attributes.row.group
            or attributes.row.plural != "pods"
        ):
            return
        if attributes.subresource not in ("", "ephemeralcontainers"):
            return
        assert attributes.object is not None
        try:
            status = await self._status(attributes, spec_of(attributes))
        except WebhookError as error:
            if not self._policy.allows_on_failure:
                raise attributes.forbidden(str(error)) from None
            metadata = attributes.object["metadata"]
            metadata["annotations"] = {**(metadata.get("annotations") or {}), FAILED_OPEN: "true"}
            attributes.call.annotate(f"{_AUDIT}failed-open", "true")
            return
        for key, value in (status.get("auditAnnotations") or {}).items():
            attributes.call.annotate(_AUDIT + key, value)
        if not status.get("allowed"):
            reason = status.get("reason")
            denied = f"image policy webhook backend denied one or more images: {reason}"
            raise attributes.forbidden(denied if reason else "one or more images rejected by webhook backend")

    async def _status(self, attributes: Attributes, spec: Object) -> Object:
        clock = attributes.call.server.clock
        key = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
        known = self._answers.get(key)
        if known is not None and known[0] > clock.monotonic():
            self._answers.move_to_end(key)
            return known[1]
        review = {
            "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "kind": "ImageReview",
            "spec": spec,
            "status": {},
        }
        status = await self._asked(review, clock.sleep)
        lifetime = self._policy.allow_seconds if status.get("allowed") else self._policy.deny_seconds
        if lifetime:
            self._answers[key] = (clock.monotonic() + lifetime, status)
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return status

    async def _asked(self, review: dict[str, Any], sleep: Callable[[float], Awaitable[None]]) -> Object:
        """The status of the answer. Who does not answer is asked again, after a while."""
        for failures in range(1, _TRIES + 1):
            try:
                answer = await self._webhook(review, _TIMEOUT_SECONDS)
            except WebhookError:
                if failures == _TRIES:
                    raise
                await sleep(self._policy.backoff.delay_seconds(failures))
            else:
                status: Object = answer.get("status") or {}
                return status
        raise AssertionError("unreachable")


def spec_of(attributes: Attributes) -> Object:
    """The spec of an ImageReview."""
    assert attributes.object is not None
    fields = ("ephemeralContainers",) if attributes.subresource else ("containers", "initContainers")
    images = [
        each.get("image", "") for field in fields for each in attributes.object["spec"].get(field) or ()
    ]
    annotations = {
        key: value
        for key, value in meta.annotations(attributes.object).items()
        if ".image-policy.k8s.io/" in key
    }
    spec = {"containers": [{"image": image} for image in images], "namespace": attributes.namespace}
    return {**spec, "annotations": annotations} if annotations else spec


def _webhook(kubeconfig: Path) -> KubeconfigWebhook:
    try:
        # It is outside of the cluster: names of Services mean nothing to it.
        return KubeconfigWebhook(kubeconfig, ServiceDialer(_no_services, dial))
    except KubeconfigError as error:
        raise BadConfiguration(f"imagePolicy.kubeConfigFile: {error}") from None


def _no_services(group: str, plural: str) -> Any:
    raise WebhookError(f"no {plural} are known here")


def read_policy(configuration: Configuration | None) -> ImagePolicy:
    """Raises BadConfiguration."""
    found = (configuration or {}).get("imagePolicy")
    if not isinstance(found, dict):
        raise BadConfiguration("imagePolicy: Required value")
    refuse_unknown(found, _FIELDS, "imagePolicy.")
    if not found.get("kubeConfigFile"):
        raise BadConfiguration("imagePolicy.kubeConfigFile: Required value")
    return ImagePolicy(
        Path(str(found["kubeConfigFile"])),
        _seconds(found, "allowTTL", usual=300.0, scale=1.0, low=1.0, high=1800.0),
        _seconds(found, "denyTTL", usual=30.0, scale=1.0, low=1.0, high=1800.0),
        Backoff(_seconds(found, "retryBackoff", usual=0.5, scale=0.001, low=0.001, high=300.0), 300.0, 1.5),
        bool(found.get("defaultAllow")),
    )


def _seconds(
    found: Configuration, name: str, *, usual: float, scale: float, low: float, high: float
) -> float:
    """0 or nothing is upstream's choice, -1 switches it off."""
    value = found.get(name) or 0
    if not isinstance(value, int):
        raise BadConfiguration(f"imagePolicy.{name}: it is no number")
    if value in (0, -1):
        return usual if value == 0 else 0.0
    if not low <= value * scale <= high:
        raise BadConfiguration(
            f"imagePolicy.{name}: valid value is between {low:g}s and {high:g}s, got {value * scale:g}s"
        )
    return value * scale
