"""What stands in a pod's resolv.conf and /etc/hosts, and what the pod is called. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import DNSConfig
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta

HOSTNAME_LIMIT = 63
_LOCAL_NAMES = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class ClusterDNS:
    server: str = "10.96.0.10"
    domain: str = "cluster.local"


def hostname(pod: Object) -> str:
    """At most 63 characters, not ending in a dash or dot."""
    name = pod["spec"].get("hostname") or meta.name(pod)
    return str(name)[:HOSTNAME_LIMIT].rstrip("-.")


def domain_name(pod: Object, cluster: ClusterDNS) -> str:
    """Its name with the subdomain's; empty when it has no subdomain."""
    subdomain = pod["spec"].get("subdomain")
    if not subdomain:
        return ""
    return f"{hostname(pod)}.{subdomain}.{meta.namespace(pod)}.svc.{cluster.domain}"


def uts_name(pod: Object, cluster: ClusterDNS) -> str:
    """What `hostname` says inside."""
    if pod["spec"].get("setHostnameAsFQDN"):
        return domain_name(pod, cluster) or hostname(pod)
    return hostname(pod)


def dns_config(pod: Object, cluster: ClusterDNS) -> DNSConfig | None:
    """None: as on the node."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    own = pod["spec"].get("dnsConfig") or {}
    is_cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not spec.uses_host_network(pod)
    )
    if not is_cluster and policy != "None" and not own:
        return None
    servers, searches, options = [], [], {}
    if is_cluster:
        servers = [cluster.server]
        base = f"svc.{cluster.domain}"
        searches = [f"{meta.namespace(pod)}.{base}", base, cluster.domain]
        options = {"ndots": "5"}
    for option in own.get("options") or ():
        options[option["name"]] = option.get("value") or ""
    return DNSConfig(
        tuple(dict.fromkeys([*servers, *(own.get("nameservers") or ())])),
        tuple(dict.fromkeys([*searches, *(own.get("searches") or ())])),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
    )


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
