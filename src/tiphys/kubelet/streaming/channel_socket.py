"""The `channel.k8s.io` family of WebSocket subprotocols: each message begins with the number of its channel.

Binary variants put the number into the first byte. The base64 variants are text: the number as a digit, then the data
in base64 (k8s.io/streaming/pkg/httpstream/wsstream).
"""

import base64
import binascii

from tiphys.net.websocket import Opcode, WebSocket, WebSocketError

__all__ = ["ChannelSocket"]

# Long writes become several messages, so that one channel does not hold up the others for long.
MESSAGE_SIZE_BYTES = 64 * 1024


class ChannelSocket:
    """Numbered channels over one WebSocket. One task receives; any number may send."""

    def __init__(self, websocket: WebSocket, *, in_base64: bool) -> None:
        self._websocket = websocket
        self._in_base64 = in_base64

    async def send(self, channel: int, data: bytes) -> None:
        """One message, or more for long data; also for none. Raises ConnectionError when the client is gone."""
        for at in range(0, len(data) or 1, MESSAGE_SIZE_BYTES):
            part = data[at : at + MESSAGE_SIZE_BYTES]
            if self._in_base64:
                await self._websocket.send(b"%d" % channel + base64.b64encode(part), Opcode.TEXT)
            else:
                await self._websocket.send(part, prefix=bytes((channel,)))

    async def receive(self) -> tuple[int, bytes] | None:
        """Channel and data of the next message that has both; None when the client has closed or broken the protocol."""
        while True:
            try:
                message = await self._websocket.receive()
            except WebSocketError:
                return None
            if message is None:
                return None
            if (decoded := self._decode(message[1])) is not None:
                return decoded

    def _decode(self, payload: bytes) -> tuple[int, bytes] | None:
        if not payload:
            return None
        if not self._in_base64:
            return payload[0], payload[1:]
        try:
            return payload[0] - ord("0"), base64.b64decode(payload[1:], validate=True)
        except binascii.Error:
            return None  # as upstream: what cannot be read is dropped, the rest goes on

    async def close(self) -> None:
        await self._websocket.close()
