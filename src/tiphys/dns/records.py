"""What the cluster's DNS says of a name: from Services and EndpointSlices to records. Pure.

The names are those of Kubernetes' DNS-Based Service Discovery 1.1.0; where that leaves a choice, the answer is that of CoreDNS's
`kubernetes` plugin as kubeadm configures it (`pods insecure`, `ttl 30`), which is what clients have seen so far:

    web.shop.svc.cluster.local              the Service's address, or those of all ready endpoints of a headless one
    _http._tcp.web.shop.svc.cluster.local   SRV: port and name
    pet.web.shop.svc.cluster.local          an endpoint with that hostname, or 10-91-0-2.web… for one without
    10-91-0-2.shop.pod.cluster.local        10.91.0.2
    7.0.96.10.in-addr.arpa                  PTR: the Service, or an endpoint with a hostname
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from tiphys.client.cache import Index, View
from tiphys.client.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from tiphys.dns.message import AAAA, ANY, CNAME, NS, NXDOMAIN, PTR, SOA, SRV, TXT, A, Answer, Record
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

Object = dict[str, Any]
TTL_SECONDS = 30
SCHEMA_VERSION = b"1.1.0"
SCHEMA_TTL_SECONDS = 28800
_ALIASES_LIMIT = 8
SERVICE_NAME = "kubernetes.io/service-name"
_REVERSE = (".in-addr.arpa", ".ip6.arpa")


@frozen
class Zone:
    """The cluster's domain, and the address of its name server."""

    domain: str = "cluster.local"
    server: str = "10.96.0.10"


@frozen
class Found:
    """`alias`: the answer goes on with what is known of this name."""

    answer: Answer
    alias: str = ""


@frozen
class _Host:
    """One address that a name stands for, and a port of it; `name`: its own, which an SRV record leads to."""

    address: str
    name: str
    port: int = 0


def _slice_of(slice: Object) -> str:
    return f"{meta.namespace(slice)}/{meta.labels(slice).get(SERVICE_NAME, '')}"


def _service_addresses(service: Object) -> Iterable[str]:
    return [
        ip
        for ip in service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP")]
        if ip not in (None, "", "None")
    ]


def _slice_addresses(slice: Object) -> Iterable[str]:
    return {address for endpoint in slice.get("endpoints") or () for address in endpoint["addresses"]}


BY_SERVICE = Index("slices by service", lambda slice: (_slice_of(slice),))
BY_SERVICE_ADDRESS = Index("services by address", _service_addresses)
BY_ENDPOINT_ADDRESS = Index("slices by address", _slice_addresses)


def resolve(name: str, type: int, view: View, zone: Zone) -> Found | None:
    """None: somebody else must know it. Aliases are followed as far as they are ours."""
    found = _find(name, type, view, zone)
    for _ in range(_ALIASES_LIMIT):
        further = _find(found.alias, type, view, zone) if found and found.alias else None
        if found is None or further is None:
            break
        answers = (*found.answer.answers, *further.answer.answers)
        found = Found(Answer(answers=answers), further.alias)
    return found


def is_shortened(name: str, view: View, zone: Zone) -> bool:
    """Whether it is a Service's name without its end, as pods write it: `web.shop`, `web.shop.svc`.

    Pods' search domains make the whole name of it before anybody outside would be asked, and no name outside ends with `svc`.
    """
    first, dot, rest = name.rpartition(".")
    if dot and rest == "svc":
        return True
    found = _find(f"{name}.svc.{zone.domain}", A, view, zone) if first.count(".") < 2 and dot else None
    return found is not None and found.answer.code != NXDOMAIN


def _find(name: str, type: int, view: View, zone: Zone) -> Found | None:
    if name == zone.domain or name.endswith(f".{zone.domain}"):
        labels = name.removesuffix(zone.domain).rstrip(".")
        return _in_zone(name, labels.split(".") if labels else [], type, view, zone)
    if name.endswith(_REVERSE):
        return _reverse(name, type, view, zone)
    return None


# The zone


def _in_zone(name: str, labels: list[str], type: int, view: View, zone: Zone) -> Found:
    match labels:
        case []:
            return _of_kind(name, type, _apex(name, zone), view, zone)
        case ["dns-version"]:
            record = Record(name, TXT, SCHEMA_TTL_SECONDS, SCHEMA_VERSION)
            return _of_kind(name, type, [record], view, zone)
        case ["ns", "dns"]:
            return _of_kind(name, type, [_address(name, zone.server)], view, zone)
        case ["dns"] | ["svc"] | ["pod"]:
            return _nothing(view, zone)
        case [*_, namespace, "svc" | "pod"] if view.get(NAMESPACES, namespace) is None:
            return _nothing(view, zone, code=NXDOMAIN)
        case [_, "svc" | "pod"]:
            return _nothing(view, zone)
        case [pod, _, "pod"]:
            address = _written_with_dashes(pod)
            if address is None:
                return _nothing(view, zone, code=NXDOMAIN)
            return _of_kind(name, type, [_address(name, address)], view, zone)
        case [*more, service, namespace, "svc"] if len(more) <= 2:
            return _service(name, type, (namespace, service, more), view, zone)
    return _nothing(view, zone, code=NXDOMAIN)


def _apex(name: str, zone: Zone) -> list[Record]:
    return [_start(zone, 0), Record(name, NS, TTL_SECONDS, f"ns.dns.{zone.domain}")]


def _service(name: str, type: int, asked: tuple[str, str, list[str]], view: View, zone: Zone) -> Found:
    """`asked`: (namespace, service, labels before them: none, an endpoint's, or a port's and a protocol's)."""
    namespace, service_name, more = asked
    service = view.get(SERVICES, service_name, namespace)
    if service is None:
        return _nothing(view, zone, code=NXDOMAIN)
    own_name = f"{service_name}.{namespace}.svc.{zone.domain}"
    if service["spec"].get("type") == "ExternalName":
        return _external(name, type, service, more, view, zone)
    hosts = list(_hosts(service, own_name, more, view))
    if not hosts:
        return _nothing(view, zone, code=NXDOMAIN)
    if type in (SRV, ANY) and any(host.port for host in hosts):
        return Found(_services(name, hosts))
    addresses = dict.fromkeys(host.address for host in hosts)
    return _of_kind(name, type, [_address(name, each) for each in addresses], view, zone)


def _hosts(service: Object, own_name: str, more: list[str], view: View) -> Iterator[_Host]:
    """What it stands for; `more`: see `_service`."""
    is_headless = not list(_service_addresses(service))
    wanted_endpoint = more[0] if len(more) == 1 else ""
    wanted = [label.removeprefix("_") for label in more] if len(more) == 2 else []
    if not (is_headless or wanted_endpoint):
        for port in service["spec"].get("ports") or ():
            if not wanted or wanted == _port_labels(port):
                yield from (_Host(address, own_name, port["port"]) for address in _service_addresses(service))
        return
    for slice in view.by(ENDPOINTSLICES, BY_SERVICE, meta.namespaced_name(service)):
        ports = [port for port in slice.get("ports") or () if not wanted or wanted == _port_labels(port)]
        numbers = [port.get("port") or 0 for port in ports] or ([] if wanted else [0])
        for endpoint in slice.get("endpoints") or ():
            label = _endpoint_label(endpoint)
            if _is_ready(endpoint) and wanted_endpoint in ("", label):
                for number in numbers:
                    yield _Host(endpoint["addresses"][0], f"{label}.{own_name}", number)


def _port_labels(port: Object) -> list[str]:
    return [(port.get("name") or "").lower(), (port.get("protocol") or "TCP").lower()]


def _is_ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _endpoint_label(endpoint: Object) -> str:
    return str(endpoint.get("hostname") or endpoint["addresses"][0].replace(".", "-").replace(":", "-"))


def _services(name: str, hosts: Sequence[_Host]) -> Answer:
    """All with the same weight."""
    ports = list(dict.fromkeys((host.name, host.port) for host in hosts if host.port))
    weight = max(100 // len(ports), 1)
    answers = [Record(name, SRV, TTL_SECONDS, (0, weight, port, target)) for target, port in ports]
    targets = dict.fromkeys((host.name, host.address) for host in hosts if host.port)
    return Answer(answers=answers, additional=[_address(target, address) for target, address in targets])


def _external(name: str, type: int, service: Object, more: list[str], view: View, zone: Zone) -> Found:
    target = service["spec"]["externalName"].lower().rstrip(".")
    if more or _is_address(target):
        return _nothing(view, zone, code=NXDOMAIN)
    alias = Record(name, CNAME, TTL_SECONDS, target)
    if type not in (A, AAAA):
        return _of_kind(name, type, [alias], view, zone)
    return Found(Answer(answers=[alias]), target)


# Addresses


def _reverse(name: str, type: int, view: View, zone: Zone) -> Found | None:
    """Of an address that is no Service's and no endpoint's with a hostname, somebody else may know."""
    address = _address_of_reverse(name)
    if address is None:
        return None
    targets = [
        f"{meta.name(service)}.{meta.namespace(service)}.svc.{zone.domain}"
        for service in view.by(SERVICES, BY_SERVICE_ADDRESS, address)
    ]
    for slice in view.by(ENDPOINTSLICES, BY_ENDPOINT_ADDRESS, address):
        service = f"{meta.labels(slice).get(SERVICE_NAME)}.{meta.namespace(slice)}.svc.{zone.domain}"
        targets += [
            f"{endpoint['hostname']}.{service}"
            for endpoint in slice["endpoints"]
            if address in endpoint["addresses"] and endpoint.get("hostname") and _is_ready(endpoint)
        ]
    if not targets:
        return None
    records = [Record(name, PTR, TTL_SECONDS, target) for target in dict.fromkeys(targets)]
    return _of_kind(name, type, records, view, zone)


def _address_of_reverse(name: str) -> str | None:
    if name.endswith(".in-addr.arpa"):
        text = ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
    else:
        digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
        text = ":".join(digits[start : start + 4] for start in range(0, len(digits), 4))
    return str(ip_address(text)) if _is_address(text) else None


def _written_with_dashes(label: str) -> str | None:
    """ "10-91-0-2" is 10.91.0.2, "fd00--2" is fd00::2; None for what is no address."""
    is_v4 = label.count("-") == 3 and "--" not in label
    text = label.replace("-", "." if is_v4 else ":")
    return text if _is_address(text) else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _address(name: str, address: str) -> Record:
    return Record(name, AAAA if ":" in address else A, TTL_SECONDS, address)


# Answers


def _of_kind(name: str, type: int, records: Sequence[Record], view: View, zone: Zone) -> Found:
    """Those that were asked for; when there are none, the name exists all the same."""
    wanted = [record for record in records if type in (record.type, ANY)]
    return Found(Answer(answers=wanted)) if wanted else _nothing(view, zone)


def _nothing(view: View, zone: Zone, *, code: int = 0) -> Found:
    """No such record, or with NXDOMAIN no such name; the SOA record tells for how long that may be remembered."""
    serial = max(view.cache(kind).resource_version for kind in (SERVICES, ENDPOINTSLICES))
    return Found(Answer(code=code, authority=[_start(zone, serial)]))


def _start(zone: Zone, serial: int) -> Record:
    names = (f"ns.dns.{zone.domain}", f"hostmaster.{zone.domain}")
    return Record(
        zone.domain, SOA, TTL_SECONDS, (*names, serial & 0xFFFFFFFF, 7200, 1800, 86400, TTL_SECONDS)
    )
