"""Trying again, later and later."""

from tiphys.machinery.retry.backoff import (
    CRASH_LOOP,
    WORK_QUEUE,
    Backoff,
    CrashLoop,
    ItemBackoff,
    Jitter,
)

__all__ = ["CRASH_LOOP", "WORK_QUEUE", "Backoff", "CrashLoop", "ItemBackoff", "Jitter"]
