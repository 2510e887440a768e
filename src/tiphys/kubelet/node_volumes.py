"""The volumes of all pods of one node: made and brought up to date, remembered for the containers that mount them, removed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tiphys.kubelet.container_mounts import MountMaker
from tiphys.kubelet.downward import Surroundings
from tiphys.kubelet.files import Files
from tiphys.kubelet.host import Unprovided
from tiphys.kubelet.image_volumes import ImageVolumes
from tiphys.kubelet.life_metrics import Timed, untimed
from tiphys.kubelet.references import References
from tiphys.kubelet.runtimes.interface import Runtime
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.claims import claim_of
from tiphys.kubelet.volumes.lookups import PodLookups
from tiphys.kubelet.volumes.mounting import Mounter
from tiphys.kubelet.volumes.pod_volumes import Volume, own_plugin, prepare_volumes, remove_volumes
from tiphys.kubelet.volumes.request import Services
from tiphys.kubelet.volumes.tokens import Tokens
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

PROGRAM_SECONDS = 60.0
"""A server that does not answer must not keep a pod from being deleted for longer."""


class InThread(Protocol):
    """Runs what blocks where it does no harm: asyncio.to_thread."""

    def __call__(self, work: Callable[..., Any], /, *arguments: Any) -> Awaitable[Any]: ...


class NodeVolumes:
    def __init__(
        self,
        files: Files,
        references: References,
        tokens: Tokens,
        *,
        runtime: Runtime,
        mounter: Mounter,
        clock: Clock,
        in_thread: InThread = asyncio.to_thread,
        node_labels: Callable[[], Mapping[str, str] | None] = lambda: None,
        timed: Timed = untimed,
    ) -> None:
        """`timed`: the making of a volume, by its plugin."""
        self.maker = MountMaker(files, mounter)
        self._files = files
        self._references = references
        self.tokens = tokens
        self._mounter = mounter
        self._images = ImageVolumes(files, runtime, mounter)
        self._clock = clock
        self._in_thread = in_thread
        self._node_labels = node_labels
        self._timed = timed
        self._prepared: dict[str, dict[str, Volume]] = {}

    async def prepare(self, pod: Object, around: Surroundings) -> float | None:
        """In how many seconds they must be looked at again. Raises Unprovided with all that failed; the others are there."""
        services = Services(
            PodLookups(pod, self._references, self.tokens),
            around,
            self._mounter,
            run,
            self._clock.now(),
            lambda name: self._is_used(name, meta.uid(pod)),
            self._node_labels(),
            self._timed,
        )
        known = self._prepared.setdefault(meta.uid(pod), {})
        outcome = await prepare_volumes(pod, self._files, services, known)
        known |= outcome.volumes
        if outcome.problems:
            first, *others = ((problem.reason, problem.message) for problem in outcome.problems)
            raise Unprovided(*first, others=others)
        times = [volume.refresh_after_seconds for volume in known.values()]
        return min((seconds for seconds in times if seconds is not None), default=None)

    def _is_used(self, name: str, uid: str) -> bool:
        others = (volumes.values() for other, volumes in self._prepared.items() if other != uid)
        return any(volume.persistent == name for volumes in others for volume in volumes)

    def of(self, pod: Object) -> Mapping[str, Volume]:
        """Those that are there, by name; without images."""
        return self._prepared.get(meta.uid(pod), {})

    def plugins(self, pod: Object) -> tuple[list[str], list[str]]:
        """Of the volumes that are there, and of those that shall be, as far as it is known what they are."""
        there = self.of(pod)
        wanted = [volume for volume in pod["spec"].get("volumes") or () if not volume.get("image")]
        names = [there[each["name"]].plugin if each["name"] in there else own_plugin(each) for each in wanted]
        return [volume.plugin for volume in there.values()], list(filter(None, names))

    def claimed(self, pod: Object) -> dict[str, Path]:
        """Where those lie that it has by claim, and that we mounted."""
        own, known = self._files.volumes(meta.uid(pod)), self.of(pod)
        claims = (volume["name"] for volume in pod["spec"].get("volumes") or () if claim_of(pod, volume))
        return {
            name: known[name].path for name in claims if name in known and own in known[name].path.parents
        }

    async def for_container(self, pod: Object, container: Object) -> Mapping[str, Volume]:
        """And the images that the container mounts. Raises RuntimeFailure, OSError."""
        return {**self.of(pod), **await self._images.mount(pod, container)}

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self.tokens.forget(uid)

    async def remove(self, uid: str) -> None:
        """Raises OSError, RuntimeFailure."""
        self._prepared.pop(uid, None)
        await self._images.remove(uid)
        await self._in_thread(remove_volumes, uid, self._files, self._mounter)


async def run(command: Sequence[str], limit_seconds: float = PROGRAM_SECONDS) -> tuple[int, str]:
    """Starts a program; its exit code (127: there is no such program; 124: it took too long) and all that it said."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(limit_seconds):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        # One that the kernel holds fast does not even end by that.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await process.wait()
        return 124, f"{command[0]} did not end within {limit_seconds:.0f} s"
    return process.returncode or 0, said.decode(errors="replace").strip()
