"""Devices of a node: plugins register here, pods get devices when they are admitted, containers what their devices need. One a node.

Plugins wait for the socket to appear anew when a kubelet starts, and then register again: so all sockets go first.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.kubelet import spec
from tiphys.kubelet.admission import Refused, Rejection
from tiphys.kubelet.allocatable import is_extended
from tiphys.kubelet.devices import checkpoint
from tiphys.kubelet.devices.inventory import AllocationError, Grant, Holder, Inventory
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.runtimes.interface import ContainerConfig, Device, Mount, RuntimeFailure
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.quantity import as_value
from tiphys.machinery.quoting import quote

if TYPE_CHECKING:
    from tiphys.kubelet.devices.plugin import Plugin
    from tiphys.kubelet.managers.hints import Hints, Nodes

log = logging.getLogger(__name__)

PLUGINS, POD_RESOURCES = "device-plugins", "pod-resources"
"""Directories of the kubelet, where plugins and agents look for its sockets."""
VERSION = "v1beta1"
SOCKET = "kubelet.sock"
CHECK_SECONDS = 10.0


class DeviceKeeper:
    """`directory`: where plugins look for us. `holders()`: the uids of pods that may hold something; None: they are not all known yet.
    `on_change()`: the node has other devices, or they are otherwise."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        holders: Callable[[], Collection[str] | None],
        on_change: Callable[[], None],
        metrics: KubeletMetrics | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._holders = holders
        self._on_change = on_change
        self._metrics = metrics or KubeletMetrics()
        self.inventory = Inventory()
        self._plugins: dict[str, Plugin] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        from tiphys.kubelet.devices.service import serve

        self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._clear_sockets()
        for resource in checkpoint.read(self._checkpoint, self.inventory):
            self.inventory.stop(resource, self._clock.now())
        server = await serve(self._directory / SOCKET, "v1beta1.Registration", {"Register": self._register})
        try:
            while True:
                await self._clock.sleep(CHECK_SECONDS)
                if self.inventory.forget_old(self._clock.now()):
                    self._on_change()
        finally:
            for watch in self._watches.values():
                watch.cancel()
            await asyncio.gather(*self._watches.values(), return_exceptions=True)
            await server.stop()

    @property
    def _checkpoint(self) -> Path:
        return self._directory / checkpoint.NAME

    def _clear_sockets(self) -> None:
        for path in self._directory.iterdir():
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink(missing_ok=True)

    # Plugins

    def _register(self, request: Any) -> Any:
        from tiphys.kubelet.devices.plugin import Options, Plugin
        from tiphys.kubelet.devices.service import Refused, message

        resource = request.resource_name
        if request.version != VERSION:
            raise Refused(
                f"requested API version {quote(request.version)} is not supported by kubelet. "
                f"Supported version is {quote(VERSION)}"
            )
        if not is_extended(resource):
            raise Refused(f"the ResourceName {quote(resource)} is invalid")
        options = Options(
            request.options.pre_start_required, request.options.get_preferred_allocation_available
        )
        log.info("device plugin for %s at %s", resource, request.endpoint)
        self._metrics.plugin_registered(resource)
        plugin = Plugin(resource, self._directory / request.endpoint, options)
        before = self._watches.pop(resource, None)
        if before is not None:
            before.cancel()
        self._plugins[resource] = plugin
        self._watches[resource] = asyncio.get_running_loop().create_task(self._watch(plugin))
        return message("v1beta1.Empty")()

    async def _watch(self, plugin: Plugin) -> None:
        """As long as the plugin lives."""
        try:
            async for devices in plugin.devices():
                self.inventory.set_devices(plugin.resource, devices)
                self._write()
                self._on_change()
        except RuntimeFailure as error:
            log.info("the device plugin for %s is away: %s", plugin.resource, error.message)
        finally:
            if self._plugins.get(plugin.resource) is plugin:
                self.inventory.stop(plugin.resource, self._clock.now())
                self._on_change()
            await plugin.close()

    def _write(self) -> None:
        try:
            checkpoint.write(self._checkpoint, self.inventory)
        except OSError as error:
            log.warning("cannot write %s: %s", self._checkpoint, error)

    # Pods

    async def admit(self, pod: Object) -> Rejection | None:
        """Gives the pod's containers their devices, or says why not."""
        wanted = [container for container in self._containers(pod) if self._asked(container)]
        if not wanted:
            return None
        async with self._lock:
            holders = self._holders()
            if holders is not None:
                self.keep_only({meta.uid(pod), *holders})
            try:
                for container in wanted:
                    await self.allocate(pod, container, None)
            except Refused as error:
                if holders is not None:
                    self.keep_only({uid for uid in holders if uid != meta.uid(pod)})
                return Rejection(error.reason, str(error))
        return None

    def keep_only(self, uids: Collection[str]) -> None:
        """Pods that are over hold nothing."""
        if self.inventory.keep_only(uids):
            self._write()

    def _containers(self, pod: Object) -> list[Object]:
        return [*spec.containers(pod, "init"), *spec.containers(pod)]

    def _asked(self, container: Object) -> dict[str, int]:
        """Limits are what counts: of extended resources they equal the requests."""
        limits = (container.get("resources") or {}).get("limits") or {}
        return {name: as_value(amount) for name, amount in limits.items() if self.inventory.is_known(name)}

    async def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> None:
        """Gives a container of a pod that is being admitted its devices, near to `nodes` if there are such. Raises Refused."""
        holder = (meta.uid(pod), container["name"])
        try:
            for resource, count in self._asked(container).items():
                if count and self.inventory.still_needed(holder, resource, count):
                    reusable = self._reusable(pod, container, resource)
                    grant = await self._choose(resource, count, reusable, nodes)
                    self.inventory.grant(holder, resource, grant)
                    self._write()
        except AllocationError as error:
            raise Refused.unexpectedly(error) from None
        except RuntimeFailure as error:
            raise Refused.unexpectedly(error.message) from None

    def _reusable(self, pod: Object, container: Object, resource: str) -> list[str]:
        """What an init container has is free for those after it."""
        left: set[str] = set()
        for earlier in self._containers(pod):
            if earlier["name"] == container["name"]:
                break
            ids = self.inventory.ids(meta.uid(pod), earlier["name"], resource)
            is_passing = spec.is_passing(pod, earlier)
            left = left | ids if is_passing else left - ids
        return sorted(left)

    async def _choose(self, resource: str, count: int, reusable: list[str], nodes: Nodes | None) -> Grant:
        available = self.inventory.available(resource, count, reusable, nodes)
        plugin = self._plugins.get(resource)
        if plugin is None:
            raise AllocationError(f"unknown Device Plugin {resource}")
        chosen = available[:count]
        if plugin.options.has_preferences:
            near = self.inventory.near(resource, available, nodes)
            offered = near if len(near) >= count else available
            preferred = await plugin.preferred(offered, reusable[:count], count)
            known = [id for id in dict.fromkeys(preferred) if id in available]
            chosen = [*known, *(id for id in available if id not in known)][:count]
        began = self._clock.monotonic()
        grant = await plugin.allocate(chosen)
        self._metrics.devices_allocated(resource, self._clock.monotonic() - began)
        return grant

    def hints(self, pod: Object, container: Object) -> Hints:
        """Where a container's devices could come from."""
        return {
            resource: self.inventory.hints(
                (meta.uid(pod), container["name"]), resource, count, self._reusable(pod, container, resource)
            )
            for resource, count in self._asked(container).items()
            if count
        }

    def pod_hints(self, pod: Object) -> Hints:
        return self.inventory.pod_hints(meta.uid(pod), self._asked_together(pod))

    def _asked_together(self, pod: Object) -> dict[str, int]:
        at_once: dict[str, int] = {}
        before: dict[str, int] = {}
        for container in self._containers(pod):
            for resource, count in self._asked(container).items():
                if spec.is_passing(pod, container):
                    before[resource] = max(before.get(resource, 0), count)
                else:
                    at_once[resource] = at_once.get(resource, 0) + count
        names = {**before, **at_once}
        together = {name: max(before.get(name, 0), at_once.get(name, 0)) for name in names}
        return {name: count for name, count in together.items() if count}

    # Containers

    async def prepare(self, pod: Object, container: Object) -> list[Grant]:
        """What a container that is about to start needs for its devices. Raises RuntimeFailure."""
        grants = self.grants(meta.uid(pod), container["name"])
        for resource, grant in grants.items():
            plugin = self._plugins.get(resource)
            if plugin is not None and plugin.options.pre_start_required:
                try:
                    await plugin.pre_start(grant.ids)
                except RuntimeFailure as error:
                    message = f"device plugin PreStartContainer rpc failed with err: {error.message}"
                    raise RuntimeFailure(message) from None
        return list(grants.values())

    @property
    def offered(self) -> Mapping[str, int]:
        """Devices that are well, and never fewer than are given away: what runs already is not refused for a plugin's absence."""
        return {
            resource: max(healthy, len(self.inventory.granted(resource)))
            for resource, (_, healthy) in self.inventory.amounts().items()
        }

    def grants(self, uid: str, container: str) -> Mapping[str, Grant]:
        holder: Holder = (uid, container)
        return self.inventory.grants.get(holder, {})

    def health(self, uid: str, container: str) -> list[Object]:
        """As a container's status has it (allocatedResourcesStatus)."""
        return [
            {
                "name": resource,
                "resources": [
                    {"resourceID": id, "health": self.inventory.health(resource, id)} for id in grant.ids
                ],
            }
            for resource, grant in self.grants(uid, container).items()
        ]


def with_devices(config: ContainerConfig, grants: Iterable[Grant]) -> ContainerConfig:
    """What the container says itself wins over what a plugin says."""
    for grant in grants:
        own = {key for key, _ in config.env}
        config = replace(
            config,
            env=(*((key, value) for key, value in grant.env.items() if key not in own), *config.env),
            annotations={**grant.annotations, **config.annotations},
            mounts=(
                *config.mounts,
                *(Mount(path, on_node, read_only=read_only) for path, on_node, read_only in grant.mounts),
            ),
            devices=(*config.devices, *(Device(*device) for device in grant.devices)),
        )
    return config
