"""gRPC messages from a descriptor set that is loaded at run time (`compile_messages.py` makes it from proto/).

No generated modules: this is quicker to import, and free of protobuf's check that generated code and library were released together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message = Any
"""A protobuf message: its class is made at run time, so its fields are unknown to the type checker."""
FILE = "messages.binpb"
"""What a descriptor set is called, beside the folder of its sources."""


@cache
def pool_of(path: Path) -> descriptor_pool.DescriptorPool:
    """All messages and services of a compiled descriptor set."""
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


def message_of(pool: descriptor_pool.DescriptorPool, name: str) -> Callable[..., Message]:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
