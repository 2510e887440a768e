"""Compiles proto/*.proto into messages.binpb beside it, wherever there are such sources. For developers: needs grpcio-tools.

    make messages

The descriptor sets are committed, so that running Tiphys needs no compiler; a test compares them with the sources.
"""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

from tiphys.net.grpc_messages import FILE

ROOT = Path(__file__).parents[1]


def directories() -> list[Path]:
    """Where there is a descriptor set."""
    return sorted({source.parents[1] for source in ROOT.rglob("proto/*.proto")})


def descriptor_set(directory: Path) -> bytes:
    """A serialized FileDescriptorSet of all sources and what they import, without comments and positions."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    protos = directory / "proto"
    well_known = resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / FILE
        names = sorted(path.name for path in protos.glob("*.proto"))
        arguments = [f"-I{protos}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={output}"]
        if protoc.main(["protoc", *arguments, *names]) != 0:
            raise SystemExit(f"protoc refused {protos}; its errors are above")
        return output.read_bytes()


if __name__ == "__main__":
    for directory in directories():
        target = directory / FILE
        target.write_bytes(descriptor_set(directory))
        print(f"wrote {target} ({target.stat().st_size} bytes)")
