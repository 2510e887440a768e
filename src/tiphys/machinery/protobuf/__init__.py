"""Kubernetes' protobuf: the same objects as their JSON, in the binary form that typed clients send by default.

`decode` and `encode` follow the field numbers of a Struct; `decode_envelope` and `encode_envelope` add the frame in
which an object travels (`k8s\\0` and a runtime.Unknown that says its kind), `watch_frame` the one of a watch event.
Objects are the plain JSON dicts of everywhere else: a time is a string, bytes are base64.
"""

from tiphys.machinery.protobuf.decoder import decode
from tiphys.machinery.protobuf.encoder import encode
from tiphys.machinery.protobuf.envelope import (
    decode_envelope,
    encode_envelope,
    list_envelope,
    list_item,
    watch_frame,
)

__all__ = [
    "decode",
    "decode_envelope",
    "encode",
    "encode_envelope",
    "list_envelope",
    "list_item",
    "watch_frame",
]
