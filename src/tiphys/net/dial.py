"""A connection from this process to a host and port, as a bare socket: what a client's `dial` gives when nothing is special."""

from __future__ import annotations

import asyncio
import socket


async def dial(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket: to the first of the host's addresses that answers. OSError when none does."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"lookup {host}: no such host")
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure
