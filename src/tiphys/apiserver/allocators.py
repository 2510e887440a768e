"""Cluster IPs and node ports: handed out to Services when they are written, each to one Service at a time.

What is taken is read from the Services themselves (and from IPAddress objects that others made: `ip_addresses.py`); only what
was given to a write that is still on its way is remembered here.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import ResourceCache
from tiphys.apiserver.ip_addresses import IPAddresses
from tiphys.machinery import errors, meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.gvk import GroupKind
from tiphys.machinery.names import Random

NODE_PORTS = range(30000, 32768)
SETTLE_SECONDS = 5.0
_SPEC = Path("spec")
_SERVICE = GroupKind("", "Service")
_WITH_PORTS = ("NodePort", "LoadBalancer")


class _Pool:
    """Numbers of one range. The lower part is left to those who ask for a number of their own, as upstream does."""

    def __init__(self, first: int, count: int, static: int, random: Random) -> None:
        self._first = first
        self._count = count
        self._static = static
        self._random = random
        self._pending: set[int] = set()

    def __len__(self) -> int:
        return self._count

    def contains(self, number: int) -> bool:
        return self._first <= number < self._first + self._count

    def take(self, used: set[int]) -> int | None:
        """A free number, or None when the pool is exhausted."""
        for low, size in ((self._static, self._count - self._static), (0, self._static)):
            if size <= 0:
                continue
            start = int("".join(self._random.choices("0123456789", k=9))) % size
            for step in range(size):
                number = self._first + low + (start + step) % size
                if number not in used and number not in self._pending:
                    self._pending.add(number)
                    return number
        return None

    def reserve(self, number: int, used: set[int]) -> bool:
        if number in used or number in self._pending:
            return False
        self._pending.add(number)
        return True

    def settle(self, numbers: list[int]) -> None:
        """The write is done, either way: what stands in the store counts from now on."""
        self._pending.difference_update(numbers)


def _pool_of(network: IPv4Network, random: Random) -> _Pool:
    """All but the network's own and its broadcast address."""
    size = network.num_addresses - 2
    # min(max(16, size / 16), 256) addresses are kept for those who choose (KEP-3070).
    return _Pool(int(network.network_address) + 1, size, min(max(16, size // 16), 256), random)


class Allocators:
    """Called by the registry for every Service that is written."""

    def __init__(
        self,
        services: Callable[[], ResourceCache],
        addresses: IPAddresses,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        self._services = services
        self._objects = addresses
        self._clock = clock
        self._random = random
        self._networks: dict[IPv4Network, _Pool] = {}
        static_ports = min(max(16, len(NODE_PORTS) // 32), 128)
        self._ports = _Pool(NODE_PORTS.start, len(NODE_PORTS), static_ports, random)

    def _pools(self) -> list[_Pool]:
        """One for each network that addresses may come from now."""
        return [self._pool(network) for network in self._objects.networks()]

    def _pool(self, network: IPv4Network) -> _Pool:
        if network not in self._networks:
            self._networks[network] = _pool_of(network, self._random)
        return self._networks[network]

    def occupancy(self) -> tuple[dict[str, tuple[int, int]], tuple[int, int]]:
        """How many are taken and free: addresses of each network, and ports."""
        services, ports = self._used("")
        numbers = services | self._objects.taken(("", ""))
        by_network = {}
        for network in self._objects.networks():
            pool = self._pool(network)
            taken = sum(map(pool.contains, numbers))
            by_network[str(network)] = (taken, len(pool) - taken)
        return by_network, (len(ports), len(NODE_PORTS) - len(ports))

    @staticmethod
    def serves(row: Resource) -> bool:
        return row.plural == "services" and row.group == ""

    def on_create(self, row: Resource, service: Object) -> Callable[[], None]:
        """Gives the Service what it lacks, in place. The result releases it when the write fails."""
        del row
        return self._allocate(service, None)

    def on_update(self, row: Resource, service: Object, old: Object) -> Callable[[], None]:
        """As `on_create`; what the update does not mention stays as it was."""
        del row
        _keep(service, old)
        return self._allocate(service, old)

    async def written(self, before: Object | None, after: Object | None) -> None:
        """A Service stands in the store, or is gone from it: IPAddress objects follow."""
        await self._objects.follow(before, after)

    def _allocate(self, service: Object, old: Object | None) -> Callable[[], None]:
        addresses: list[int] = []
        ports: list[int] = []
        try:
            self._allocate_address(service, old, addresses)
            self._allocate_ports(service, old, ports)
        except BaseException:
            self._settle(addresses, ports)
            raise

        def settle() -> None:
            self._settle(addresses, ports)

        # For a write of which the end is not seen, because its client went away.
        self._clock.call_later(SETTLE_SECONDS, settle)
        return settle

    def _settle(self, addresses: list[int], ports: list[int]) -> None:
        for pool in self._networks.values():
            pool.settle(addresses)
        self._ports.settle(ports)

    def _used(self, but: str) -> tuple[set[int], set[int]]:
        addresses: set[int] = set()
        ports: set[int] = set()
        records, _ = self._services().page()
        for record in records:
            spec = record.object.get("spec") or {}
            if record.object["metadata"].get("uid") == but:
                continue
            address = spec.get("clusterIP")
            if address and address != "None" and ":" not in address:
                addresses.add(int(IPv4Address(address)))
            ports.update(port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort"))
            if spec.get("healthCheckNodePort"):
                ports.add(spec["healthCheckNodePort"])
        return addresses, ports

    def _allocate_address(self, service: Object, old: Object | None, taken: list[int]) -> None:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return
        _set_families(spec)
        wanted = spec.get("clusterIP") or ""
        if wanted == "None" or (old and wanted and wanted == (old["spec"].get("clusterIP") or "")):
            spec["clusterIPs"] = [wanted]
            return
        used, _ = self._used(service["metadata"].get("uid", ""))
        used |= self._objects.taken((meta.namespace(service), meta.name(service)))
        if wanted:
            number = self._check_address(service, wanted, used)
        else:
            taken_now = (pool.take(used) for pool in self._pools())
            free = next((number for number in taken_now if number is not None), None)
            if free is None:
                raise errors.internal_error("failed to allocate a serviceIP: range is full")
            number = free
        taken.append(number)
        spec["clusterIP"] = str(IPv4Address(number))
        spec["clusterIPs"] = [spec["clusterIP"]]

    def _check_address(self, service: Object, wanted: str, used: set[int]) -> int:
        path = (
            _SPEC.child("clusterIPs").index(0)
            if service["spec"].get("clusterIPs")
            else _SPEC.child("clusterIP")
        )
        try:
            number = int(IPv4Address(wanted))
        except ValueError:
            raise _invalid(
                service, path, [wanted], "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ) from None
        pool = next((pool for pool in self._pools() if pool.contains(number)), None)
        if pool is None:
            detail = f"failed to allocate IP {wanted}: the provided network does not match the current range"
            raise _invalid(service, _SPEC.child("clusterIPs"), [wanted], detail)
        if not pool.reserve(number, used):
            raise _invalid(
                service,
                _SPEC.child("clusterIPs"),
                [wanted],
                f"failed to allocate IP {wanted}: provided IP is already allocated",
            )
        return number

    def _allocate_ports(self, service: Object, old: Object | None, taken: list[int]) -> None:
        spec = service["spec"]
        if spec.get("type") not in _WITH_PORTS:
            return
        if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return
        own = {port.get("nodePort") for port in ((old or {}).get("spec") or {}).get("ports") or ()}
        _, used = self._used(service["metadata"].get("uid", ""))
        shared: dict[int | None, int] = {}
        for index, port in enumerate(spec.get("ports") or ()):
            wanted = port.get("nodePort")
            if wanted in own and wanted:
                shared[port.get("port")] = wanted
            elif wanted:
                self._check_port(service, index, wanted, used, taken)
                shared[port.get("port")] = wanted
            elif port.get("port") in shared:
                port["nodePort"] = shared[port.get("port")]  # the same port in another protocol
            else:
                free = self._ports.take(used | {item for item in own if item})
                if free is None:
                    raise errors.internal_error("failed to allocate a nodePort: range is full")
                taken.append(free)
                port["nodePort"] = shared[port.get("port")] = free

    def _check_port(self, service: Object, index: int, wanted: int, used: set[int], taken: list[int]) -> None:
        path = _SPEC.child("ports").index(index).child("nodePort")
        if wanted in taken:
            return
        if wanted not in NODE_PORTS:
            detail = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
            raise _invalid(service, path, wanted, detail)
        if not self._ports.reserve(wanted, used):
            raise _invalid(service, path, wanted, "provided port is already allocated")
        taken.append(wanted)


def _set_families(spec: dict[str, Any]) -> None:
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _keep(service: Object, old: Object) -> None:
    """An update that leaves the address out keeps it; a change to ExternalName gives everything back."""
    spec, before = service["spec"], old["spec"]
    if spec.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name) == before.get(name):
                spec.pop(name, None)
    else:
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if name not in spec and name in before:
                spec[name] = before[name]
    if spec.get("type") in _WITH_PORTS:
        _keep_ports(spec, before)
    elif before.get("type") in _WITH_PORTS:
        for port, earlier in zip(spec.get("ports") or (), before.get("ports") or (), strict=False):
            if port.get("nodePort") and port["nodePort"] == earlier.get("nodePort"):
                del port["nodePort"]


def _keep_ports(spec: dict[str, Any], before: dict[str, Any]) -> None:
    known = {
        (port.get("protocol", "TCP"), port.get("port")): port.get("nodePort")
        for port in before.get("ports") or ()
    }
    for port in spec.get("ports") or ():
        number = known.get((port.get("protocol", "TCP"), port.get("port")))
        if not port.get("nodePort") and number:
            port["nodePort"] = number


def _invalid(service: Object, path: Path, value: Any, detail: str) -> errors.StatusError:
    return errors.invalid(
        _SERVICE, service["metadata"].get("name", ""), [FieldError.invalid(path, value, detail)]
    )
