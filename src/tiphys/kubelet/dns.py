"""What stands in a pod's resolv.conf and /etc/hosts, and what the pod is called. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import DNSConfig
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

HOSTNAME_LIMIT = 63
FQDN_LIMIT = 64
NAMESERVER_LIMIT = 3
SEARCH_LIMIT = 32
SEARCH_LINE_LIMIT = 2048
NAME_LIMIT = 253
_LOCAL_NAMES = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@frozen
class ClusterDNS:
    server: str = "10.96.0.10"
    domain: str = "cluster.local"


class NameTooLong(ValueError):
    """The kernel takes no such host name; the message is fit for an event."""


def hostname(pod: Object) -> str:
    """At most 63 characters, not ending in a dash or dot; hostnameOverride (KEP-4762) is taken as it is."""
    override = pod["spec"].get("hostnameOverride")
    if override:
        return str(override)
    name = pod["spec"].get("hostname") or meta.name(pod)
    return str(name)[:HOSTNAME_LIMIT].rstrip("-.")


def domain_name(pod: Object, cluster: ClusterDNS) -> str:
    """Its name with the subdomain's; empty when it has no subdomain."""
    subdomain = pod["spec"].get("subdomain")
    if not subdomain or pod["spec"].get("hostnameOverride"):
        return ""
    return f"{hostname(pod)}.{subdomain}.{meta.namespace(pod)}.svc.{cluster.domain}"


def uts_name(pod: Object, cluster: ClusterDNS) -> str:
    """What `hostname` says inside. Raises NameTooLong."""
    if not pod["spec"].get("setHostnameAsFQDN"):
        return hostname(pod)
    name = domain_name(pod, cluster) or hostname(pod)
    if len(name) > FQDN_LIMIT:
        raise NameTooLong(
            "failed to construct FQDN from pod hostname and cluster domain, "
            f"FQDN {name} is too long ({FQDN_LIMIT} characters is the max, {len(name)} characters requested)"
        )
    return name


# resolv.conf


@frozen
class PodDNS:
    """`config` None: as on the node. `warnings`: what was left out, in words fit for events."""

    config: DNSConfig | None
    warnings: tuple[str, ...] = ()


def parse_resolver(text: str) -> DNSConfig:
    """A node's resolv.conf; of what stands there twice the last counts, as for the resolver itself."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.partition("#")[0].partition(";")[0].split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *found]:
                searches = [name.removesuffix(".") or "." for name in found]
            case ["options", *found]:
                options = found
    return DNSConfig(tuple(servers), tuple(searches), tuple(options))


def pod_dns(pod: Object, cluster: ClusterDNS, node: DNSConfig) -> PodDNS:
    """`node` is what the node itself uses: the base of policy Default, and searched last in the cluster's."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    own = pod["spec"].get("dnsConfig") or {}
    is_cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not spec.uses_host_network(pod)
    )
    if not is_cluster and policy != "None" and not own:
        return PodDNS(None)
    base = DNSConfig() if policy == "None" else node
    if is_cluster:
        zone = f"svc.{cluster.domain}"
        searches = (f"{meta.namespace(pod)}.{zone}", zone, cluster.domain, *node.searches)
        base = DNSConfig((cluster.server,), searches, ("ndots:5",))
    return _within_limits(
        [*base.servers, *(own.get("nameservers") or ())],
        [*base.searches, *(own.get("searches") or ())],
        _merged_options(base.options, own.get("options") or ()),
    )


def _merged_options(base: Sequence[str], own: Sequence[Object]) -> tuple[str, ...]:
    options = dict(option.partition(":")[::2] for option in base)
    options |= {option["name"]: option.get("value") or "" for option in own}
    return tuple(f"{name}:{value}" if value else name for name, value in options.items())


def _within_limits(servers: Sequence[str], searches: Sequence[str], options: tuple[str, ...]) -> PodDNS:
    warnings = []
    all_servers, all_searches = tuple(dict.fromkeys(servers)), tuple(dict.fromkeys(searches))
    kept_searches = _kept(all_searches)
    if kept_searches != all_searches:
        warnings.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(kept_searches)}"
        )
    kept_servers = all_servers[:NAMESERVER_LIMIT]
    if kept_servers != all_servers:
        warnings.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(kept_servers)}"
        )
    return PodDNS(DNSConfig(kept_servers, kept_searches, options), tuple(warnings))


def _kept(searches: tuple[str, ...]) -> tuple[str, ...]:
    """As many as a resolver takes: 32, none of more than 253 characters, 2,048 characters in all."""
    kept = [name for name in searches[:SEARCH_LIMIT] if len(name) <= NAME_LIMIT]
    while len(" ".join(kept)) > SEARCH_LINE_LIMIT:
        kept.pop()
    return tuple(kept)


# /etc/hosts


def hosts_file(pod: Object, ips: Sequence[str], cluster: ClusterDNS, nodes_own: str = "") -> str:
    """/etc/hosts. `nodes_own` is the node's, for pods in its network."""
    if spec.uses_host_network(pod):
        text = f"# Kubernetes-managed hosts file (host network).\n{nodes_own}"
    else:
        name, long_name = hostname(pod), domain_name(pod, cluster)
        names = f"{long_name}\t{name}" if long_name else name
        own = "".join(f"{ip}\t{names}\n" for ip in ips)
        text = f"# Kubernetes-managed hosts file.\n{_LOCAL_NAMES}{own}"
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        lines = [f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) for alias in aliases]
        text += "\n# Entries added by HostAliases.\n" + "\n".join(lines) + "\n"
    return text
