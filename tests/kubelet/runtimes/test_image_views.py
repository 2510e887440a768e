"""Views of images by the real containerd: also of an image that was only imported, and that nothing was ever made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiphys.kubelet.images.build import ImageSource, Layer, write_archive
from tiphys.kubelet.images.load import ImageLoader
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.cri.snapshots import chain_ids
from tiphys.kubelet.runtimes.image_views import FilesystemMount
from tiphys.kubelet.runtimes.interface import Image
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.testing.clock import FakeClock

if TYPE_CHECKING:
    from conftest import RealNode

NAME = "localhost/viewed:1"


@pytest.fixture
async def runtime(real_node: RealNode) -> AsyncIterator[ContainerdRuntime]:
    client = real_node.containerd.runtime()
    yield client
    await client.close()


@pytest.fixture
async def image(real_node: RealNode, runtime: ContainerdRuntime, tmp_path: Path) -> AsyncIterator[Image]:
    """Of two layers."""
    below = Layer({"d": 0o755}, {"d/below": (b"1", 0o644), "hidden": (b"old", 0o644)})
    above = Layer({}, {"above": (b"2", 0o644), "hidden": (b"new", 0o644)})
    write_archive(tmp_path / "archive.tar", [ImageSource((NAME,), (below, above), {})])
    loader = ImageLoader(real_node.containerd.socket)
    await loader.import_archive(tmp_path / "archive.tar")
    found = await runtime.image_status(NAME)
    assert found is not None
    yield found
    await loader.remove(NAME)
    await loader.close()


def layers(mount: FilesystemMount | None) -> list[Path]:
    """The directories that it shows, the upper ones first."""
    assert mount is not None
    assert mount.kind == "overlay"
    [option] = [option for option in mount.options if option.startswith("lowerdir=")]
    return [Path(path) for path in option.removeprefix("lowerdir=").split(":")]


@pytest.mark.real
async def test_a_view_of_an_image(runtime: ContainerdRuntime, image: Image) -> None:
    views = runtime.image_views
    first, again = await asyncio.gather(views.view(image.id, "v1"), views.view(image.id, "v2"))
    try:
        above, below = layers(first)
        assert (above / "above").read_text() == "2"
        assert (below / "d/below").read_text() == "1"
        assert [(layer / "hidden").read_text() for layer in (above, below)] == ["new", "old"]
        assert layers(again) == [above, below], "unpacked only once"
        assert await views.view(image.id, "v1") == first
    finally:
        for key in ("v1", "v2", "v2", "never"):
            await views.remove(key)


async def test_images_that_are_made_up_show_nothing() -> None:
    runtime = SimulatedRuntime(FakeClock())
    id = await runtime.pull_image("busybox")
    assert await runtime.image_views.view(id, "v") is None
    await runtime.image_views.remove("v")


def test_a_layer_is_named_by_all_below_it() -> None:
    """The example of the OCI image specification, spelled out for three layers."""
    names = chain_ids(["sha256:a", "sha256:b", "sha256:c"])
    assert names[0] == "sha256:a"
    assert len(set(names)) == 3
    assert chain_ids(["sha256:a", "sha256:b"]) == names[:2]
    assert chain_ids([]) == []
