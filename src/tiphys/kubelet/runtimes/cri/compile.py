"""Compiles proto/*.proto into messages.binpb, here and for device plugins: what wire.py loads. For developers: needs grpcio-tools.

    python -m tiphys.kubelet.runtimes.cri.compile

The descriptor set is committed, so that running Tiphys needs no compiler; a test compares it with the sources.
"""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

HERE = Path(__file__).parent
DEVICES = HERE.parent.parent / "devices"
TARGET = HERE / "messages.binpb"


def descriptor_set(directory: Path = HERE) -> bytes:
    """A serialized FileDescriptorSet of all sources and what they import, without comments and positions."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    protos = directory / "proto"
    well_known = resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "messages.binpb"
        names = sorted(path.name for path in protos.glob("*.proto"))
        arguments = [f"-I{protos}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={output}"]
        if protoc.main(["protoc", *arguments, *names]) != 0:
            raise SystemExit(f"protoc refused {protos}; its errors are above")
        return output.read_bytes()


if __name__ == "__main__":
    for directory in (HERE, DEVICES):
        target = directory / TARGET.name
        target.write_bytes(descriptor_set(directory))
        print(f"wrote {target} ({target.stat().st_size} bytes)")
