"""Defaults of pods and of the pod templates of every workload.

A pod gets a little more than a template does (requests from limits, service links, host ports): upstream keeps new
defaults out of templates, since a changed template would roll every workload out again.
"""

from __future__ import annotations

from tiphys.api.core import pod_resources
from tiphys.api.core.defaults.volumes import field_reference, pod_volume
from tiphys.api.core.images import default_pull_policy
from tiphys.api.resource import Object

GRACE_PERIOD_SECONDS = 30
TERMINATION_MESSAGE_PATH = "/dev/termination-log"
SCHEDULER_NAME = "default-scheduler"

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")


def pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _requests_from_limits(spec.get("containers") or ())
    _requests_from_limits(spec.get("initContainers") or ())
    if spec.get("resources") is not None:
        pod_resources.fill_in_pod_level(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        _host_ports(spec.get("containers") or ())
        _host_ports(spec.get("initContainers") or ())
    pod_spec(spec)
    pod_status(obj)


def pod_template(template: Object) -> None:
    """A PodTemplateSpec, wherever it stands."""
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def pod_template_object(obj: Object) -> None:
    """The kind PodTemplate."""
    pod_template(obj.setdefault("template", {}))


def pod_spec(spec: Object) -> None:
    """The defaults that a pod and a pod template share."""
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = GRACE_PERIOD_SECONDS
    if not spec.get("schedulerName"):
        spec["schedulerName"] = SCHEDULER_NAME
    # The conversion of the old field name: whichever is set counts for both.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes") or ():
        pod_volume(volume)
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            _container(container)


def _container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = default_pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = TERMINATION_MESSAGE_PATH
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    if container.get("resources") is None:
        container["resources"] = {}
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source is not None:
            field_reference(source)
    for field in _PROBES:
        if field in container and container[field] is not None:
            _probe(container[field])
    lifecycle = container.get("lifecycle")
    if lifecycle is not None:
        _lifecycle(lifecycle)


def _probe(probe: Object) -> None:
    # Zero counts as unset: these are plain integers in Go.
    if not probe.get("timeoutSeconds"):
        probe["timeoutSeconds"] = 1
    if not probe.get("periodSeconds"):
        probe["periodSeconds"] = 10
    if not probe.get("successThreshold"):
        probe["successThreshold"] = 1
    if not probe.get("failureThreshold"):
        probe["failureThreshold"] = 3
    _http_get(probe)
    grpc = probe.get("grpc")
    if grpc is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _lifecycle(lifecycle: Object) -> None:
    for hook in _HOOKS:
        handler = lifecycle.get(hook)
        if handler is not None:
            _http_get(handler)


def _http_get(handler: Object) -> None:
    action = handler.get("httpGet")
    if action is None:
        return
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"


def _requests_from_limits(containers: list[Object] | tuple[()]) -> None:
    for container in containers:
        resources = container.get("resources")
        if resources and resources.get("limits"):
            requests = resources.get("requests")
            resources["requests"] = (
                {**resources["limits"], **requests} if requests else dict(resources["limits"])
            )


def _host_ports(containers: list[Object] | tuple[()]) -> None:
    for container in containers:
        for port in container.get("ports") or ():
            if not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort", 0)


def pod_status(obj: Object) -> None:
    """What Go writes for a status that says nothing about it; `podIP` is the first of `podIPs`."""
    status = obj.setdefault("status", {})
    first, addresses = status.get("podIP"), status.get("podIPs")
    if first and (not addresses or addresses[0].get("ip") != first):
        status["podIPs"] = [{"ip": first}]
    elif addresses and not first:
        status["podIP"] = addresses[0].get("ip", "")
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(field) or ():
            container.setdefault("state", {})
            container.setdefault("lastState", {})
