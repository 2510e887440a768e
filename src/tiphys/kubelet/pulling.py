"""Makes sure that an image is on the node, as the container's pull policy wants it; events and messages in upstream's words.

Pulls of the same image for the same reason wait for one another: ten pods of a deployment cause one pull. How many others go on side
by side is the node's configuration: by default one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import field, replace
from datetime import datetime

from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet.images.keyring import Credential, Credentials
from tiphys.kubelet.images.names import InvalidName, parse
from tiphys.kubelet.images.pull_records import POLICIES, PullRecords, Verification
from tiphys.kubelet.metrics import PullMetrics
from tiphys.kubelet.runtimes.interface import (
    DeadlineExceeded,
    ImageNotFound,
    NotFound,
    Runtime,
    RuntimeFailure,
    Unavailable,
)
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.machinery.metrics import Registry
from tiphys.machinery.quoting import format_duration, quote

ERR_IMAGE_PULL = "ErrImagePull"
IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull"
IMAGE_INSPECT_ERROR = "ImageInspectError"
INVALID_IMAGE_NAME = "InvalidImageName"
REGISTRY_UNAVAILABLE = "RegistryUnavailable"
SIGNATURE_VALIDATION_FAILED = "SignatureValidationFailed"
PULL_FAILURES = (ERR_IMAGE_PULL, REGISTRY_UNAVAILABLE, SIGNATURE_VALIDATION_FAILED)
"""The failures that are tried again later and later."""
_TOLD_BY_RUNTIME = {
    REGISTRY_UNAVAILABLE: "the registry is unavailable",
    SIGNATURE_VALIDATION_FAILED: "the signature validation failed",
}
_CODES: dict[type[RuntimeFailure], str] = {
    ImageNotFound: "NotFound",
    NotFound: "NotFound",
    Unavailable: "Unavailable",
    DeadlineExceeded: "DeadlineExceeded",
}

Record = Callable[[str, str, str], None]
"""(type, reason, message) of an event about the container."""
Provide = Callable[[], Awaitable[tuple[Credential, ...]]]
"""More credentials for the image, which cost something to have: asked for when the others do not do, or somebody must pull."""


async def nothing_more() -> tuple[Credential, ...]:
    return ()


@frozen
class Wanted:
    """`policy`: Always, IfNotPresent or Never."""

    image: str
    policy: str
    credentials: Credentials = field(default_factory=Credentials)


@frozen
class PullLimits:
    """Fields of KubeletConfiguration: how many pulls at a time, and how many may begin in a second."""

    serialize_image_pulls: bool = True
    max_parallel_image_pulls: int | None = None
    registry_pull_qps: float = 5.0
    """0: any number."""
    registry_burst: int = 10


def pull_problems(limits: PullLimits, verification: Verification) -> list[str]:
    """What is wrong with what a configuration says about pulls."""
    problems, parallel = [], limits.max_parallel_image_pulls
    if parallel is not None and parallel < 1:
        problems.append(f"maxParallelImagePulls {parallel} must be a positive number")
    if limits.serialize_image_pulls and (parallel or 0) > 1:
        problems.append(
            "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls "
            "(--serialize-image-pulls) set to false"
        )
    name, policy = "imagePullCredentialsVerificationPolicy", verification.policy
    if policy not in POLICIES:
        options = ", ".join(map(quote, POLICIES))
        problems.append(f"option {quote(policy)} specified for {name}. Valid options are {options}")
    elif verification.allowed and policy != "NeverVerifyAllowlistedImages":
        problems.append(
            f'preloadedImagesVerificationAllowlist needs the {name} "NeverVerifyAllowlistedImages"'
        )
    return problems


UNLIMITED = PullLimits(serialize_image_pulls=False, registry_pull_qps=0.0)


class PullFailure(Exception):
    """`reason` is that of the container's waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ImagePuller:
    """Of one node."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        *,
        limits: PullLimits | None = None,
        records: PullRecords | None = None,
        mirror: str = "",
        metrics: PullMetrics | None = None,
    ) -> None:
        """`mirror`: host and port of what is asked in the registries' place, and is not to be heard of."""
        limits = limits or PullLimits()
        self._runtime = runtime
        self._clock = clock
        self._mirror = mirror
        self._metrics = metrics or PullMetrics(Registry())
        self._records = records or PullRecords(clock.now)
        self._remembering: asyncio.Task[None] | None = None
        self._running: dict[Wanted, asyncio.Task[tuple[str, float]]] = {}
        self._turn = _turn(limits)
        self._starts = _Starts(limits, clock)

    async def ensure(self, wanted: Wanted, record: Record, provide: Provide = nothing_more) -> str:
        """What to run: the image's id. Raises PullFailure, its events already told; Unavailable when the runtime is away."""
        try:
            return await self._ensure(wanted, record, provide)
        except PullFailure as failure:
            record(WARNING, "Failed", f"Error: {failure.reason}")
            raise

    def forget_missing(self, present: Collection[str], before: datetime) -> None:
        """These ids are all that were here then: what is known of others is of no more use."""
        self._records.prune(present, before)

    async def _ensure(self, wanted: Wanted, record: Record, provide: Provide) -> str:
        problem = invalid_name(wanted.image)
        if problem:
            message = f'Failed to apply default image tag "{wanted.image}": {problem}'
            record(WARNING, "InspectFailed", message)
            self._metrics.wanted(wanted.policy, is_present=None, is_pulled=None)
            raise PullFailure(INVALID_IMAGE_NAME, message)
        present, is_allowed = await self._present(wanted, record)
        if not is_allowed and (present or wanted.policy != "Never"):
            wanted = _with_more(wanted, await provide())
            is_allowed = bool(present) and self._is_allowed(wanted, present)
        if present and is_allowed:
            self._metrics.wanted(wanted.policy, is_present=True, is_pulled=False)
            text = (
                f'Container image "{wanted.image}" already present on machine and can be accessed by the pod'
            )
            record(NORMAL, "Pulled", text)
            return present
        is_present = None if wanted.policy == "Always" else bool(present)
        is_pulled = None if wanted.policy == "Never" and not present else True
        self._metrics.wanted(wanted.policy, is_present=is_present, is_pulled=is_pulled)
        if wanted.policy == "Never":
            # Nor does one learn that an image is here which one may not have.
            message = f'Container image "{wanted.image}" is not present with pull policy of Never'
            record(WARNING, ERR_IMAGE_NEVER_PULL, message)
            raise PullFailure(ERR_IMAGE_NEVER_PULL, message)
        if wanted.credentials.problem:
            raise PullFailure(wanted.credentials.problem, wanted.credentials.problem)
        return await self._pull_and_tell(wanted, record)

    async def _present(self, wanted: Wanted, record: Record) -> tuple[str, bool]:
        """Its id if it is here and may be used as it is, and whether the pod may have it."""
        if wanted.policy == "Always":
            return "", False
        try:
            image = await self._runtime.image_status(wanted.image)
        except Unavailable:
            raise
        except RuntimeFailure as failure:
            # Upstream names the image by what it was to find out: by nothing.
            message = f'Failed to inspect image "": {described(failure)}'
            record(WARNING, "InspectFailed", message)
            self._metrics.wanted(wanted.policy, is_present=None, is_pulled=None)
            raise PullFailure(IMAGE_INSPECT_ERROR, message) from None
        await self._remember()
        if image is None:
            return "", False
        return image.id, self._is_allowed(wanted, image.id)

    def _is_allowed(self, wanted: Wanted, id: str) -> bool:
        return not self._records.must_pull(wanted.image, id, wanted.credentials.found)

    async def _pull_and_tell(self, wanted: Wanted, record: Record) -> str:
        record(NORMAL, "Pulling", f'Pulling image "{wanted.image}"')
        asked = self._clock.monotonic()
        try:
            id, seconds = await self._pull(wanted)
        except RuntimeFailure as failure:
            text = self._as_of_registry(wanted.image, described(failure))
            record(WARNING, "Failed", f'Failed to pull image "{wanted.image}": {text}')
            raise pull_failure(wanted.image, text) from None
        waited = self._clock.monotonic() - asked
        # Who joined a pull that was under way has not waited for all of it.
        seconds = min(seconds, waited)
        size_bytes = await self._size_bytes(id)
        self._metrics.pulled(size_bytes, waited)
        text = (
            f'Successfully pulled image "{wanted.image}" in {_milliseconds(seconds)} '
            f"({_milliseconds(waited)} including waiting). Image size: {size_bytes} bytes."
        )
        record(NORMAL, "Pulled", text)
        return id

    def _as_of_registry(self, image: str, text: str) -> str:
        """What the mirror answers is what the registry answered it."""
        return text.replace(self._mirror, parse(image).host) if self._mirror else text

    async def _size_bytes(self, id: str) -> int:
        try:
            image = await self._runtime.image_status(id)
        except RuntimeFailure:
            return 0
        return image.size_bytes if image else 0

    async def _pull(self, wanted: Wanted) -> tuple[str, float]:
        """The id, and how long the pull itself took."""
        task = self._running.get(wanted)
        if task is None:
            task = self._running[wanted] = asyncio.get_running_loop().create_task(self._in_turn(wanted))
            task.add_done_callback(lambda _: self._running.pop(wanted, None))
        return await asyncio.shield(task)

    async def _in_turn(self, wanted: Wanted) -> tuple[str, float]:
        async with self._turn:
            await self._starts.wait()
            await self._remember()
            self._records.begin(wanted.image)
            try:
                started = self._clock.monotonic()
                id, credential = await self._with_each_credential(wanted)
                self._records.succeeded(wanted.image, id, credential)
                return id, self._clock.monotonic() - started
            finally:
                self._records.end(wanted.image)

    async def _remember(self) -> None:
        """Before the records are used for the first time: what the last kubelet wrote down, as far as it is true still."""
        if self._remembering is None:
            self._remembering = asyncio.get_running_loop().create_task(self._load_records())
        try:
            await asyncio.shield(self._remembering)
        except RuntimeFailure:
            self._remembering = None
            raise

    async def _load_records(self) -> None:
        self._records.load(await self._runtime.list_images())

    async def _with_each_credential(self, wanted: Wanted) -> tuple[str, Credential | None]:
        """The id, and the first credential that the registry took; without any when the pod has none for this registry."""
        if not wanted.credentials.found:
            return await self._runtime.pull_image(wanted.image, None), None
        failures = []
        for credential in wanted.credentials.found:
            try:
                return await self._runtime.pull_image(wanted.image, credential.auth), credential
            except RuntimeFailure as failure:
                failures.append(failure)
        if len(failures) == 1:
            raise failures[0]
        raise RuntimeFailure(aggregate(map(described, failures)))


def _with_more(wanted: Wanted, more: tuple[Credential, ...]) -> Wanted:
    found = (*wanted.credentials.found, *more)
    return replace(wanted, credentials=replace(wanted.credentials, found=found)) if more else wanted


class _Starts:
    """A token bucket: how many more pulls may begin now.

    Upstream fails a pull that comes too early. Its pulls are never so quick that this often happens; from a mirror on the node they are, and
    an ordinary deployment would wait for its back-offs. So a pull waits for its time, and others of the same image join it.
    """

    def __init__(self, limits: PullLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._left = float(limits.registry_burst)
        self._counted_at = clock.monotonic()

    async def wait(self) -> None:
        qps = self._limits.registry_pull_qps
        if not qps:
            return
        now = self._clock.monotonic()
        self._left = min(self._left + (now - self._counted_at) * qps, float(self._limits.registry_burst))
        self._counted_at = now
        self._left -= 1
        if self._left < 0:
            await self._clock.sleep(-self._left / qps)


def _turn(limits: PullLimits) -> contextlib.AbstractAsyncContextManager[None]:
    if limits.serialize_image_pulls:
        return asyncio.Semaphore(1)
    if limits.max_parallel_image_pulls:
        return asyncio.Semaphore(limits.max_parallel_image_pulls)
    return contextlib.nullcontext()


def described(failure: RuntimeFailure) -> str:
    """As upstream tells what CRI answered: an answer of unknown kind in its own words, others with their code."""
    code = _CODES.get(type(failure))
    return f"rpc error: code = {code} desc = {failure.message}" if code else failure.message


def pull_failure(image: str, text: str) -> PullFailure:
    """What a failed pull means for the container, by what the runtime said."""
    for reason, why in _TOLD_BY_RUNTIME.items():
        if text.startswith(reason):
            details = text.removeprefix(reason)
            return PullFailure(reason, f"image pull failed for {image} because {why}{details}")
    return PullFailure(ERR_IMAGE_PULL, text)


def aggregate(texts: Iterable[str]) -> str:
    """Several errors as one: "[a, b]", each once."""
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"


def _milliseconds(seconds: float) -> str:
    return format_duration(int(seconds * 1000) / 1000)


def invalid_name(image: str) -> str:
    """Why it is no image reference; empty when it is one."""
    try:
        parse(image)
    except InvalidName as error:
        return f'couldn\'t parse image name "{image}": {error}'
    return ""
