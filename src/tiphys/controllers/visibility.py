"""Seeing one's own writes: a callback once the caches show everything that was written.

A cache shows a write when it has reached the write's resourceVersion. The answer to a deletion carries none; then the key itself is
watched until the object is gone, or marked, or another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from tiphys.client.cache import Cache, version_number
from tiphys.client.reflector import Informers
from tiphys.controllers.executor import Write
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

log = logging.getLogger(__name__)

SEEN_WITHIN_SECONDS = 30.0
"""A write that no cache shows after this long is no longer waited for (the watch may be down)."""


def when_all_visible(
    informers: Informers, clock: Clock, writes: Sequence[Write], callback: Callable[[], None]
) -> None:
    """Calls back once: when every write is visible, at once if there are none, or when the wait is over."""
    pending = set(range(len(writes)))
    if not pending:
        callback()
        return

    def give_up() -> None:
        log.warning("not in the caches yet: %s", ", ".join(writes[number].key for number in pending))
        pending.clear()
        callback()

    def seen(number: int) -> None:
        if number in pending:
            pending.discard(number)
            if not pending:
                timer.cancel()
                callback()

    timer = clock.call_later(SEEN_WITHIN_SECONDS, give_up)
    for number, write in enumerate(writes):
        when_visible(informers.watched(write.resource), write, partial(seen, number))


def when_visible(cache: Cache | None, write: Write, callback: Callable[[], None]) -> None:
    """Calls back once the cache shows the write; at once when nobody watches that kind (None)."""
    if cache is None:
        callback()
    elif write.version:
        cache.when_seen(version_number(write.version), callback)
    else:
        _when_gone(cache, write, callback)


def _when_gone(cache: Cache, write: Write, callback: Callable[[], None]) -> None:
    found = cache.get(write.key)
    if found is None or meta.is_deleting(found) or (write.uid and meta.uid(found) != write.uid):
        callback()
    else:
        cache.when_changed(write.key, lambda: _when_gone(cache, write, callback))
