"""Removes images that nothing uses, when the disk gets full or they get old. A chore of the kubelet; an eviction asks for it, too.

Upstream's rules (`pkg/kubelet/images` image_gc_manager): above the high threshold as much goes as leads to the low one, what was used
longest ago first. What was imported by hand may go, too: the node's registry mirror still has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tiphys.client.events import WARNING
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.runtimes.interface import Container, Image, Runtime, RuntimeFailure
from tiphys.kubelet.stats.meter import Meter
from tiphys.kubelet.stats.usage import FilesystemUsage
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

PERIOD_SECONDS = 300.0
AGE, SPACE = "age", "space"
"""Why an image goes."""


@frozen
class Record:
    """Of an image: since when we know it, when something was last seen to use it, and whether something does."""

    first_seen: datetime | None
    """None: it was there before us, and is old enough for anything."""
    last_used: datetime | None = None
    is_used: bool = False


Records = Mapping[str, Record]
"""By the image's id."""


def seen(
    records: Records | None, images: Iterable[Image], containers: Iterable[Container], now: datetime
) -> Records:
    """What we know after a look at all images and containers, dead ones too. `records` None: it is our first."""
    used = {name for container in containers for name in (container.image, container.image_ref)}
    found = {}
    for image in images:
        record = Record(None) if records is None else records.get(image.id, Record(now))
        is_used = not used.isdisjoint((image.id, *image.repo_tags, *image.repo_digests))
        last_used = now if is_used else record.last_used
        found[image.id] = Record(record.first_seen, last_used, is_used)
    return found


def excess_bytes(disk: FilesystemUsage, configuration: KubeletConfiguration) -> int:
    """How much must go; 0 below the high threshold."""
    used_percent = 100 - disk.available_bytes * 100 // disk.capacity_bytes
    if used_percent < configuration.image_gc_high_threshold_percent:
        return 0
    low = configuration.image_gc_low_threshold_percent
    return disk.capacity_bytes * (100 - low) // 100 - disk.available_bytes


def removable(
    images: Sequence[Image], records: Records, now: datetime, configuration: KubeletConfiguration
) -> list[Image]:
    """Those that may go, in the order in which they do."""
    youngest = timedelta(seconds=configuration.image_minimum_gc_age_seconds)
    found = [
        image
        for image in images
        if not image.pinned
        and image.id in records
        and not records[image.id].is_used
        and _is_older(records[image.id], now - youngest)
    ]
    return sorted(found, key=lambda image: _age_key(records[image.id]))


def _is_older(record: Record, limit: datetime) -> bool:
    return record.first_seen is None or record.first_seen <= limit


def _age_key(record: Record) -> tuple[float, float]:
    used = record.last_used.timestamp() if record.last_used else 0.0
    return used, record.first_seen.timestamp() if record.first_seen else 0.0


def too_old(
    images: Sequence[Image],
    records: Records,
    now: datetime,
    configuration: KubeletConfiguration,
    *,
    began: datetime,
) -> list[Image]:
    """Those that nothing has used for longer than they may be kept; what was before we `began` to look nobody knows."""
    oldest = configuration.image_maximum_gc_age_seconds
    if not oldest:
        return []
    limit = now - timedelta(seconds=oldest)
    return [
        image
        for image in removable(images, records, now, configuration)
        if (records[image.id].last_used or records[image.id].first_seen or began) < limit
    ]


class ImageCollector:
    """`record(type, reason, message)`: an event about the node. `pinned`: names of images that stay whatever they are.

    `copies` are of what registries have: first to go, as they are had again. `forget(ids, before)` is told what images there are.
    `count(reason)`: of images that went.
    """

    def __init__(
        self,
        runtime: Runtime,
        meter: Meter,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        record: Callable[[str, str, str], None],
        pinned: Collection[str] = (),
        copies: RegistryCache | None = None,
        forget: Callable[[Collection[str], datetime], None] = lambda ids, before: None,
        count: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._runtime = runtime
        self._meter = meter
        self._configuration = configuration
        self._clock = clock
        self._record = record
        self._pinned = frozenset(pinned)
        self._copies = copies
        self._forget = forget
        self._count = count
        self._began = clock.now()
        self._records: Records = {}
        self._has_looked = False
        self._has_failed = False

    async def run(self) -> None:
        """Until cancelled."""
        configuration = self._configuration
        never = configuration.image_gc_high_threshold_percent == 100
        if never and not configuration.image_maximum_gc_age_seconds:
            return
        while True:
            await self._collect_and_tell()
            await self._clock.sleep(PERIOD_SECONDS)

    async def _collect_and_tell(self) -> None:
        try:
            problem = await self.collect()
        except (OSError, RuntimeFailure) as error:
            problem = str(error)
        if problem:
            log.warning("image garbage collection: %s", problem)
            if self._has_failed:
                # Once may be an accident; it is told when it happens in a row.
                self._record(WARNING, "ImageGCFailed", problem)
        self._has_failed = bool(problem)

    async def collect(self) -> str:
        """What is too old goes, and what is too much for the disk; why that was not enough, if so."""
        images = await self._look()
        now, configuration = self._clock.now(), self._configuration
        old = too_old(images, self._records, now, configuration, began=self._began)
        await self._remove(old, AGE)
        disks = await self._meter.node_disks()
        disk = disks.images or disks.node
        if disk.capacity_bytes == 0:
            problem = "invalid capacity 0 on image filesystem"
            self._record(WARNING, "InvalidDiskCapacity", problem)
            return problem
        wanted = excess_bytes(disk, configuration)
        freed = await self._free(images, wanted)
        if freed >= wanted:
            return ""
        problem = (
            "Failed to garbage collect required amount of images. "
            f"Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
        )
        self._record(WARNING, "FreeDiskSpaceFailed", problem)
        return problem

    async def remove_unused(self) -> None:
        """All of them, as far as they may go: the node has an urgent need of its disk."""
        images = await self._look()
        if self._copies is not None:
            self._copies.free()
        await self._remove(removable(images, self._records, self._clock.now(), self._configuration), SPACE)

    async def _look(self) -> list[Image]:
        began = self._clock.now()
        images = [
            replace(image, pinned=image.pinned or not self._pinned.isdisjoint(image.repo_tags))
            for image in await self._runtime.list_images()
        ]
        containers = await self._runtime.list_containers()
        known = self._records if self._has_looked else None
        self._records, self._has_looked = seen(known, images, containers, self._clock.now()), True
        self._forget([image.id for image in images], began)
        return images

    async def _free(self, images: Sequence[Image], wanted_bytes: int) -> int:
        freed = self._copies.free(wanted_bytes) if self._copies is not None and wanted_bytes else 0
        for image in removable(images, self._records, self._clock.now(), self._configuration):
            if freed >= wanted_bytes:
                break
            freed += await self._remove([image], SPACE)
        return freed

    async def _remove(self, images: Iterable[Image], reason: str) -> int:
        """How many bytes they had."""
        freed = 0
        for image in images:
            try:
                await self._runtime.remove_image(image.id)
            except RuntimeFailure as error:
                log.warning("cannot remove image %s: %s", image.id, error.message)
                continue
            log.info("removed image %s to free %d bytes", (*image.repo_tags, image.id)[0], image.size_bytes)
            self._records = {id: record for id, record in self._records.items() if id != image.id}
            self._count(reason)
            freed += image.size_bytes
        return freed
