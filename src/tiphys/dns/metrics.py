"""What a name server counts, under CoreDNS's names: whoever watches a cluster's names has rules and pictures for those.

Labels that tell CoreDNS's server blocks and views apart are here as in a cluster of kubeadm's, which has one: `dns://:53`, ".", "".
"""

from __future__ import annotations

from tiphys.dns import message
from tiphys.dns.message import Query
from tiphys.machinery.metrics import INTERNAL, Registry, exponential

_SERVER, _ZONE, _VIEW = "dns://:53", ".", ""
_SECONDS = exponential(0.00025, 2, 16)
_TYPES = {
    1: "A", 28: "AAAA", 5: "CNAME", 48: "DNSKEY", 43: "DS", 65: "HTTPS", 15: "MX", 35: "NAPTR", 2: "NS", 47: "NSEC",
    50: "NSEC3", 12: "PTR", 46: "RRSIG", 6: "SOA", 33: "SRV", 64: "SVCB", 16: "TXT", 255: "ANY",
}  # fmt: skip
_CODES = {
    message.NOERROR: "NOERROR",
    message.FORMERR: "FORMERR",
    message.SERVFAIL: "SERVFAIL",
    message.NXDOMAIN: "NXDOMAIN",
    message.NOTIMP: "NOTIMP",
    message.REFUSED: "REFUSED",
}
SUCCESS, DENIAL = "success", "denial"


def _code(answer: bytes) -> str:
    code = message.code_of(answer)
    return _CODES.get(code, str(code))


class NameMetrics:
    """Of one name server."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry()
        own = (_SERVER, _ZONE, _VIEW)
        self._requests = registry.counter(
            "coredns_dns_requests_total",
            "Questions, by how and for what they were asked.",
            ("server", "zone", "view", "proto", "family", "type"),
            stability=INTERNAL,
        )
        self._responses = registry.counter(
            "coredns_dns_responses_total",
            "Answers, by their code and by who knew them.",
            ("server", "zone", "view", "rcode", "plugin"),
            stability=INTERNAL,
        )
        self._duration = registry.histogram(
            "coredns_dns_request_duration_seconds",
            "How long questions waited for their answers.",
            _SECONDS,
            ("server", "zone", "view"),
            stability=INTERNAL,
        ).labels(*own)
        self._cache(registry)
        self._elsewhere = registry.histogram(
            "coredns_proxy_request_duration_seconds",
            "How long other name servers took to answer.",
            _SECONDS,
            ("proxy_name", "to", "rcode"),
            stability=INTERNAL,
        )
        self.rejected = registry.counter(
            "coredns_forward_max_concurrent_rejects_total",
            "Questions that were not asked elsewhere because too many waited already.",
            stability=INTERNAL,
        ).labels()

    def _cache(self, registry: Registry) -> None:
        zones = (_SERVER, _ZONE, _VIEW)
        places, kinds = ("server", "zones", "view"), ("server", "type", "zones", "view")

        counter = registry.counter
        entries = registry.gauge(
            "coredns_cache_entries", "Answers of others that are kept.", kinds, stability=INTERNAL
        )
        hits = counter(
            "coredns_cache_hits_total",
            "Questions that were answered by what was kept.",
            kinds,
            stability=INTERNAL,
        )
        evictions = counter(
            "coredns_cache_evictions_total",
            "Answers that made room for newer ones.",
            kinds,
            stability=INTERNAL,
        )
        self.entries = {kind: entries.labels(_SERVER, kind, _ZONE, _VIEW) for kind in (SUCCESS, DENIAL)}
        self.hits = {kind: hits.labels(_SERVER, kind, _ZONE, _VIEW) for kind in (SUCCESS, DENIAL)}
        self.evictions = {kind: evictions.labels(_SERVER, kind, _ZONE, _VIEW) for kind in (SUCCESS, DENIAL)}
        self.looked = counter(
            "coredns_cache_requests_total", "Questions that others know.", places, stability=INTERNAL
        ).labels(*zones)
        self.misses = counter(
            "coredns_cache_misses_total",
            "Questions that others had to be asked.",
            places,
            stability=INTERNAL,
        ).labels(*zones)
        self.drops = counter(
            "coredns_cache_drops_total",
            "Answers that were not kept because they were none to the question.",
            places,
            stability=INTERNAL,
        ).labels(*zones)

    def asked(self, query: Query, *, over_tcp: bool) -> None:
        proto = "tcp" if over_tcp else "udp"
        self._requests.inc(_SERVER, _ZONE, _VIEW, proto, "1", _TYPES.get(query.type, "other"))

    def answered(self, answer: bytes, plugin: str, seconds: float) -> None:
        self._responses.inc(_SERVER, _ZONE, _VIEW, _code(answer), plugin)
        self._duration.observe(seconds)

    def answered_elsewhere(self, server: str, answer: bytes, seconds: float) -> None:
        self._elsewhere.observe(seconds, "forward", server, _code(answer))
