"""Flows of UDP that the kernel must forget, because it would go on sending them where nobody is any more. Pure.

A flow of UDP has no end that the kernel sees: as long as a client sends, its packets go where the first one went. (TCP ends by itself:
whoever has no peer is told so.)
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.machinery.frozen import frozen
from tiphys.proxy.ruleset import Ruleset


@frozen
class Flow:
    """Of UDP packets to `address`:`port`, which went to `endpoint`; empty: which went nowhere, since nobody was there."""

    address: str
    port: str
    endpoint: str = ""

    @property
    def arguments(self) -> list[str]:
        """Of conntrack(8)."""
        to = ["-D", "-p", "udp", "--orig-dst", self.address, "--dport", self.port]
        return [*to, "--reply-src", self.endpoint] if self.endpoint else to


def stale_flows(old: Ruleset, new: Ruleset) -> set[Flow]:
    """What the step from one to the other leaves behind."""
    flows = set()
    now = set(_targets(new))
    served = {(address, port) for address, port, _ in now}
    before = set(_targets(old))
    for address, port, endpoint in before - now:
        flows.add(Flow(address, port, endpoint))
    for key in (old.elements.get("unserved") or {}).keys() - (new.elements.get("unserved") or {}).keys():
        address, protocol, port = key.split(" . ")
        if protocol == "udp" and (address, port) in served:
            flows.add(Flow(address, port))
    return flows


def _targets(ruleset: Ruleset) -> Iterator[tuple[str, str, str]]:
    """(address, port, endpoint's address) of UDP."""
    for key, value in (ruleset.elements.get("endpoints") or {}).items():
        address, protocol, port, _ = key.split(" . ")
        if protocol == "udp":
            yield address, port, value.partition(" . ")[0]
