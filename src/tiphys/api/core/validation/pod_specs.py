"""The spec of a pod, in a pod or in the template of a workload."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tiphys.api.core import pod_resources
from tiphys.api.core.validation import scheduling, security
from tiphys.api.core.validation.containers import (
    Surroundings,
    containers,
    ephemeral_containers,
    init_containers,
)
from tiphys.api.core.validation.resources import container_requirements, pod_requirements
from tiphys.api.core.validation.volumes import volumes
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    annotation_map,
    by_rule,
    dns_subdomain,
    in_range,
    ip_address,
    label_map,
    quantity,
    required_name,
    required_one_of,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of
from tiphys.machinery.meta import metadata
from tiphys.machinery.quantity import ZERO

RESTART_POLICIES = ("Always", "OnFailure", "Never")
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_NAMESERVERS_LIMIT = 3
_SEARCHES_LIMIT = 32
_SEARCH_CHARACTERS_LIMIT = 2048
_MAX_INT32 = 2**31 - 1
_INT32 = range(-(2**31), 2**31)


def pod_template(template: Object | None, path: Path) -> Errors:
    """A PodTemplateSpec. Its volumes' claims have no names yet, its ports may be filled in later."""
    template = template or {}
    values = metadata(template)
    spec = template.get("spec") or {}
    errors = label_map(values.get("labels"), path.child("labels"))
    errors += annotation_map(values.get("annotations"), path.child("annotations"))
    errors += pod_annotations(template, path.child("annotations"))
    errors += pod_spec(spec, "", path.child("spec"))
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        errors.append(FieldError.forbidden(path.child("spec", "ephemeralContainers"), detail))
    return errors


def pod_annotations(pod: Object, path: Path) -> Errors:
    """Annotations that mean something to Kubernetes itself."""
    values = annotations_of(pod)
    errors: Errors = []
    if MIRROR_ANNOTATION in values and not (pod.get("spec") or {}).get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(FieldError.invalid(path.key(MIRROR_ANNOTATION), values[MIRROR_ANNOTATION], detail))
    cost = values.get(DELETION_COST_ANNOTATION)
    if cost is not None and not _is_deletion_cost(cost):
        here = path.key(DELETION_COST_ANNOTATION)
        errors.append(FieldError.invalid(here, cost, "must be a 32bit integer"))
    return errors


def _is_deletion_cost(text: str) -> bool:
    digits = text.removeprefix("-")
    well_formed = digits.isascii() and digits.isdecimal() and not (len(digits) > 1 and digits[0] == "0")
    return well_formed and int(text) in _INT32


def pod_spec(spec: Object, pod_name: str, path: Path) -> Errors:
    """`pod_name` is empty in a template."""
    errors: Errors = []
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        errors.append(FieldError.required(path.child("terminationGracePeriodSeconds")))
    found, faults = volumes(spec.get("volumes") or (), pod_name, path.child("volumes"))
    errors += faults
    claims = spec.get("resourceClaims") or ()
    if claims:
        errors += _resource_claims(claims, path.child("resourceClaims"))
    pod = Surroundings(
        volumes=found,
        claims={each.get("name") or "" for each in claims} - {""},
        restart_policy=spec.get("restartPolicy") or "",
        grace_seconds=grace,
        host_users=spec.get("hostUsers") is not False,
    )
    errors += _all_containers(spec, pod, path)
    if spec.get("resources") is not None:
        errors += _pod_level_resources(spec, pod.claims, path.child("resources"))
    errors += _host_sharing(spec, pod_name, path)
    errors += _policies(spec, path)
    errors += _names(spec, path)
    errors += security.pod_security_context(spec.get("securityContext"), spec, path.child("securityContext"))
    errors += _placement(spec, path)
    errors += _network(spec, path)
    errors += security.windows_host_process(spec, path)
    return errors + security.operating_system(spec, path)


def _all_containers(spec: Object, pod: Surroundings, path: Path) -> Errors:
    main, first = spec.get("containers") or [], spec.get("initContainers") or []
    errors = containers(main, pod, path.child("containers"))
    if first:
        errors += init_containers(first, main, pod, path.child("initContainers"))
    if joined := spec.get("ephemeralContainers"):
        errors += ephemeral_containers(joined, [*main, *first], pod, path.child("ephemeralContainers"))
    return errors


def _policies(spec: Object, path: Path) -> Errors:
    errors = required_one_of(spec.get("restartPolicy"), RESTART_POLICIES, path.child("restartPolicy"))
    errors += required_one_of(spec.get("dnsPolicy"), _DNS_POLICIES, path.child("dnsPolicy"))
    if (policy := spec.get("preemptionPolicy")) is not None:
        errors += required_one_of(policy, ("PreemptLowerPriority", "Never"), path.child("preemptionPolicy"))
    if (seconds := spec.get("activeDeadlineSeconds")) is not None:
        errors += in_range(seconds, 1, _MAX_INT32, path.child("activeDeadlineSeconds"))
    if spec.get("overhead"):
        errors += container_requirements({"limits": spec["overhead"]}, (), path.child("overhead"))
    return errors


_NAME_RULES = {
    "serviceAccountName": names.dns1123_subdomain,
    "nodeName": names.dns1123_subdomain,
    "priorityClassName": names.dns1123_subdomain,
    "hostname": names.dns1123_label,
    "subdomain": names.dns1123_label,
}


def _names(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    for field, rule in _NAME_RULES.items():
        if value := spec.get(field):
            errors += by_rule(rule, value, path.child(field))
    if (runtime := spec.get("runtimeClassName")) is not None:
        errors += dns_subdomain(runtime, path.child("runtimeClassName"))
    override = spec.get("hostnameOverride")
    if override is not None:
        errors += _hostname_override(override, spec, path)
    return errors


def _hostname_override(name: str, spec: Object, path: Path) -> Errors:
    here = path.child("hostnameOverride")
    errors: Errors = []
    if spec.get("setHostnameAsFQDN"):
        errors.append(FieldError.forbidden(here, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        errors.append(FieldError.forbidden(here, "may not be specified when hostNetwork is true"))
    if len(name) > 64:
        errors.append(FieldError.too_long_characters(here, 64))
    return errors + dns_subdomain(name, here)


def _placement(spec: Object, path: Path) -> Errors:
    errors = label_map(spec.get("nodeSelector"), path.child("nodeSelector"))
    if spec.get("affinity"):
        errors += scheduling.affinity(spec["affinity"], path.child("affinity"))
    if spec.get("tolerations"):
        errors += scheduling.tolerations(spec["tolerations"], path.child("tolerations"))
    if spec.get("topologySpreadConstraints"):
        here = path.child("topologySpreadConstraints")
        errors += scheduling.topology_spread_constraints(spec["topologySpreadConstraints"], here)
    if spec.get("schedulingGates"):
        errors += scheduling.scheduling_gates(spec["schedulingGates"], path.child("schedulingGates"))
    if spec.get("readinessGates"):
        errors += scheduling.readiness_gates(spec["readinessGates"], path.child("readinessGates"))
    return errors


# Network and host


def _host_sharing(spec: Object, pod_name: str, path: Path) -> Errors:
    errors: Errors = []
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        here = path.child("securityContext", "shareProcessNamespace")
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(FieldError.invalid(here, True, detail))
    if spec.get("hostUsers") is False:
        for field, place in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(field):
                errors.append(FieldError.forbidden(path.child(place), "when `pod.Spec.HostUsers` is false"))
    if spec.get("hostNetwork"):
        errors += _host_ports(spec, pod_name, path.child("containers"))
    return errors


def _host_ports(spec: Object, pod_name: str, path: Path) -> Errors:
    """On the host's network a port is what it is; a template may leave it to be filled in."""
    errors: Errors = []
    for position, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            on_host, inside = port.get("hostPort") or 0, port.get("containerPort") or 0
            if on_host != inside and (pod_name or on_host):
                here = path.index(position).child("ports").index(number).child("hostPort")
                detail = "must match `containerPort` when `hostNetwork` is true"
                errors.append(FieldError.invalid(here, on_host, detail))
    return errors


def _network(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    for position, alias in enumerate(spec.get("hostAliases") or ()):
        here = path.child("hostAliases").index(position)
        errors += ip_address(alias.get("ip") or "", here.child("ip"))
        for number, hostname in enumerate(alias.get("hostnames") or ()):
            errors += dns_subdomain(hostname, here.child("hostnames").index(number))
    config = spec.get("dnsConfig")
    if config is not None or spec.get("dnsPolicy") == "None":
        errors += _dns_config(config, path.child("dnsConfig"), required=spec.get("dnsPolicy") == "None")
    return errors


def _dns_config(config: Object | None, path: Path, *, required: bool) -> Errors:
    if config is None:
        return [FieldError.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    here = path.child("nameservers")
    if required and not servers:
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [FieldError.required(here, detail)]
    errors: Errors = []
    if len(servers) > _NAMESERVERS_LIMIT:
        detail = f"must not have more than {_NAMESERVERS_LIMIT} nameservers"
        errors.append(FieldError.invalid(here, servers, detail))
    for position, server in enumerate(servers):
        errors += ip_address(server, here.index(position))
    errors += _dns_searches(searches, path.child("searches"))
    for position, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(FieldError.required(path.child("options").index(position), "must not be empty"))
    return errors


def _dns_searches(searches: list[str], path: Path) -> Errors:
    errors: Errors = []
    if len(searches) > _SEARCHES_LIMIT:
        detail = f"must not have more than {_SEARCHES_LIMIT} search paths"
        errors.append(FieldError.invalid(path, searches, detail))
    if len(" ".join(searches)) > _SEARCH_CHARACTERS_LIMIT:
        detail = f"must not have more than {_SEARCH_CHARACTERS_LIMIT} characters (including spaces) in the search list"
        errors.append(FieldError.invalid(path, searches, detail))
    for position, search in enumerate(searches):
        if search != ".":
            # Underscores are allowed in search paths (KEP-4427).
            text = search.removesuffix(".")
            if dns_subdomain(text.replace("_", "a"), path):
                errors += dns_subdomain(text, path.index(position))
    return errors


# Resources


def _resource_claims(claims: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, claim in enumerate(claims):
        here, name = path.index(position), claim.get("name") or ""
        if name and name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        else:
            errors += required_name(names.dns1123_label, name, here.child("name"))
        seen.add(name)
        sources = [
            each for each in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(each) is not None
        ]
        if len(sources) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(FieldError.invalid(here, claim, detail))
        if not sources:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(FieldError.invalid(here, claim, detail))
        for source in sources:
            errors += dns_subdomain(claim[source], here.child(source))
    return errors


def _pod_level_resources(spec: Object, claims: Collection[str], path: Path) -> Errors:
    resources = spec["resources"]
    errors: Errors = []
    if resources.get("claims") is not None:
        detail = "claims cannot be set for Resources at pod-level"
        errors.append(FieldError.forbidden(path.child("claims"), detail))
    errors += pod_requirements(resources, claims, path)
    return errors + _pod_covers_containers(spec, resources, path)


def _pod_covers_containers(spec: Object, resources: Mapping[str, Object], path: Path) -> Errors:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    errors: Errors = []
    for name, total in pod_resources.container_requests(spec).items():
        of_pod = quantity(requests.get(name)) if name in requests else ZERO
        if total > of_pod:
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            errors.append(FieldError.invalid(path.child("requests").key(name), str(of_pod), detail))
    for position, container in enumerate(spec.get("containers") or ()):
        for name, text in ((container.get("resources") or {}).get("limits") or {}).items():
            limit = quantity(text)
            if name in limits and limit > quantity(limits[name]):
                here = path.child("containers").index(position).key(name).child("limits")
                detail = f"must be less than or equal to pod limits of {quantity(limits[name])}"
                errors.append(FieldError.invalid(here, str(limit), detail))
    return errors
