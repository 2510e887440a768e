"""Sockets that live in another network namespace than the process that uses them.

A socket belongs to the namespace in which it was made, for ever; which namespace a thread is in matters only for the moment of
making it. So a short-lived thread enters the namespace, makes the socket and ends. Costs about half a millisecond.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def within(namespace: str | Path, action: Callable[[], Result]) -> Result:
    """Runs a short, blocking action in a thread inside the network namespace (a path such as /proc/7/ns/net) and returns its result.

    The caller waits. OSError when the namespace is gone or may not be entered.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def enter_and_act() -> None:
        try:
            _enter(namespace)
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter_and_act, name="network-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def open_socket(
    namespace: str | Path,
    family: socket.AddressFamily = socket.AF_INET,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    """A new non-blocking socket of that namespace."""

    def make() -> socket.socket:
        made = socket.socket(family, kind)
        made.setblocking(False)
        return made

    return within(namespace, make)


def listen(namespace: str | Path, host: str, port: int) -> socket.socket:
    """A socket that listens at host:port of that namespace (port 0: the kernel's choice). OSError when the port is taken."""
    listener = open_socket(namespace, socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


async def connect(namespace: str | Path, host: str, port: int) -> socket.socket:
    """A non-blocking TCP socket, connected from inside the namespace. ConnectionError when nobody listens."""
    connection = open_socket(namespace, socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except BaseException:
        connection.close()
        raise
    return connection


def _enter(namespace: str | Path) -> None:
    # os.setns exists from Python 3.12 on only.
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter network namespace {namespace}: {os.strerror(number)}")
    finally:
        os.close(descriptor)
