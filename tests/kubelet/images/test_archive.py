from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.images import oci
from tiphys.kubelet.images.archive import ArchiveError, open_archive
from tiphys.kubelet.images.build import ImageSource, Layer, write_archive
from tiphys.kubelet.images.load import garbage_labels

LAYER = Layer(directories={"etc": 0o755}, files={"etc/motd": (b"ahoy\n", 0o644)}, links={"motd": "etc/motd"})
SOURCE = ImageSource(("argo", "quay.io/argo/ship:v1"), (LAYER,), {"Cmd": ["cat", "/motd"]})


def write_tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path


def docker_archive(
    path: Path, entries: list[dict[str, Any]], files: dict[str, bytes], links: dict[str, str] | None = None
) -> Path:
    return write_tar(path, {"manifest.json": json.dumps(entries).encode(), **files}, links)


def layout(path: Path, manifests: list[dict[str, Any]], blobs: list[bytes], **more: bytes) -> Path:
    files = {f"blobs/sha256/{oci.digest_of(data).partition(':')[2]}": data for data in blobs}
    index = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    return write_tar(path, {"index.json": index, **files, **more})


def described(data: bytes, media_type: str, **annotations: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"mediaType": media_type, "digest": oci.digest_of(data), "size": len(data)}
    return {**entry, "annotations": annotations} if annotations else entry


def manifest_of(config: bytes, *layers: bytes) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "config": described(config, oci.CONFIG),
            "layers": [described(x, oci.LAYER) for x in layers],
        }
    ).encode()


def test_what_was_built_is_read_back(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", [SOURCE], architecture="arm64")
    with open_archive(tmp_path / "a.tar") as archive:
        [image] = archive.images
        assert image.names == ("docker.io/library/argo:latest", "quay.io/argo/ship:v1")
        layer, config, manifest = sorted(
            archive.blobs, key=lambda blob: blob.descriptor.media_type != oci.LAYER_GZIP
        )
        assert manifest.descriptor == image.target
        assert [r.digest for r in manifest.references] == [config.descriptor.digest, layer.descriptor.digest]
        for blob in archive.blobs:
            with blob.open() as file:
                assert oci.digest_of(file.read()) == blob.descriptor.digest
        with config.open() as file:
            document = json.load(file)
        assert (document["architecture"], document["os"]) == ("arm64", "linux")
        assert document["config"] == {"Cmd": ["cat", "/motd"]}
        with layer.open() as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            assert [(m.name, m.mode, m.mtime) for m in tar] == [
                ("etc", 0o755, 0),
                ("etc/motd", 0o644, 0),
                ("motd", 0o777, 0),
            ]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", [SOURCE])
    write_archive(tmp_path / "b.tar", [SOURCE])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_gzipped_archive_reads_the_same(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", [SOURCE])
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    with open_archive(tmp_path / "a.tar") as plain, open_archive(tmp_path / "a.tar.gz") as zipped:
        assert plain.images == zipped.images
        assert [b.descriptor for b in plain.blobs] == [b.descriptor for b in zipped.blobs]


def test_a_docker_archive_gets_a_manifest(tmp_path: Path) -> None:
    config, one, two = b'{"os":"linux"}', b"layer one", gzip.compress(b"layer two")
    path = docker_archive(
        tmp_path / "d.tar",
        [
            {
                "Config": "c.json",
                "RepoTags": ["app:v1", "app:v2"],
                "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"],
            }
        ],
        {"c.json": config, "1/layer.tar": one, "2/layer.tar": two},
        links={"3/layer.tar": "../1/layer.tar"},
    )
    with open_archive(path) as archive:
        [image] = archive.images
        assert image.names == ("docker.io/library/app:v1", "docker.io/library/app:v2")
        manifest = archive.blobs[-1]
        assert manifest.descriptor == image.target
        assert [(r.media_type, r.digest) for r in manifest.references] == [
            (oci.CONFIG, oci.digest_of(config)),
            (oci.LAYER, oci.digest_of(one)),
            (oci.LAYER_GZIP, oci.digest_of(two)),
            (oci.LAYER, oci.digest_of(one)),
        ]
        assert len(archive.blobs) == 4
        with manifest.open() as file:
            assert json.load(file)["layers"][1] == {
                "mediaType": oci.LAYER_GZIP,
                "digest": oci.digest_of(two),
                "size": len(two),
            }
        assert garbage_labels(manifest) == {
            "containerd.io/gc.ref.content.config": oci.digest_of(config),
            "containerd.io/gc.ref.content.l.0": oci.digest_of(one),
            "containerd.io/gc.ref.content.l.1": oci.digest_of(two),
            "containerd.io/gc.ref.content.l.2": oci.digest_of(one),
        }


def test_an_index_of_platforms_keeps_those_that_are_there(tmp_path: Path) -> None:
    config, layer = b"{}", b"layer"
    manifest = manifest_of(config, layer)
    absent = described(b"other platform", oci.MANIFEST)
    index = json.dumps({"manifests": [described(manifest, oci.MANIFEST), absent]}).encode()
    path = layout(
        tmp_path / "i.tar",
        [described(index, oci.INDEX, **{oci.NAME_ANNOTATION: "multi:1"})],
        [config, layer, manifest, index],
    )
    with open_archive(path) as archive:
        assert archive.images[0].target.media_type == oci.INDEX
        assert [b.descriptor.digest for b in archive.blobs] == [
            oci.digest_of(x) for x in (config, layer, manifest, index)
        ]
        assert garbage_labels(archive.blobs[-1]) == {
            "containerd.io/gc.ref.content.m.0": oci.digest_of(manifest)
        }


def test_a_bare_tag_is_no_name(tmp_path: Path) -> None:
    config = b"{}"
    manifest = manifest_of(config)
    path = layout(
        tmp_path / "t.tar",
        [described(manifest, oci.MANIFEST, **{oci.TAG_ANNOTATION: "latest"})],
        [config, manifest],
    )
    with pytest.raises(ArchiveError, match=r"does not say what sha256:.* is called"), open_archive(path):
        pass
    with open_archive(path, name="mine:2") as archive:
        assert archive.images[0].names == ("docker.io/library/mine:2",)


def test_a_layout_of_docker_save_is_named_by_its_manifest_json(tmp_path: Path) -> None:
    config = b"{}"
    manifest = manifest_of(config)
    tags = json.dumps([{"RepoTags": ["app:v9"], "Config": "x", "Layers": []}]).encode()
    path = layout(
        tmp_path / "s.tar", [described(manifest, oci.MANIFEST)], [config, manifest], **{"manifest.json": tags}
    )
    with open_archive(path) as archive:
        assert archive.images[0].names == ("docker.io/library/app:v9",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a tar archive"),
        (b"hello world" * 100, "not a tar archive"),
        (gzip.compress(b"hello") + b"rubbish", "not a tar archive"),
        (gzip.compress(b"hello" * 1000)[:20], "not a tar archive"),
    ],
)
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ArchiveError, match=f"x.tar: {message}"), open_archive(tmp_path / "x.tar"):
        pass


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme": b""}, "neither an OCI layout"),
        ({"manifest.json": b"[]"}, "holds no image"),
        ({"manifest.json": b"{"}, "manifest.json is not JSON"),
        ({"manifest.json": b"[1]"}, "not as it should be"),
        ({"index.json": b"[]"}, "not as it should be"),
        ({"index.json": b'{"manifests":[{"digest":"sha256/../x","size":1}]}'}, "is not a digest"),
        ({"manifest.json": b'[{"Config":"c.json","Layers":[],"RepoTags":["a"]}]'}, "c.json is missing"),
        (
            {"manifest.json": b'[{"Config":"c","Layers":[],"RepoTags":["A"]}]', "c": b"{}"},
            "must be lowercase",
        ),
    ],
)
def test_a_damaged_archive_is_told(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    path = write_tar(tmp_path / "x.tar", files)
    with pytest.raises(ArchiveError, match=message), open_archive(path):
        pass


def test_a_missing_layer_and_a_wrong_size_are_told(tmp_path: Path) -> None:
    config, layer = b"{}", b"layer"
    manifest = manifest_of(config, layer)
    named = described(manifest, oci.MANIFEST, **{oci.NAME_ANNOTATION: "a:1"})
    with (
        pytest.raises(ArchiveError, match="is missing"),
        open_archive(layout(tmp_path / "m.tar", [named], [config, manifest])),
    ):
        pass
    named["size"] += 1
    with (
        pytest.raises(ArchiveError, match="not as long"),
        open_archive(layout(tmp_path / "s.tar", [named], [config, layer, manifest])),
    ):
        pass


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no such file"), open_archive(tmp_path / "none.tar"):
        pass


def test_two_images_cannot_have_one_name(tmp_path: Path) -> None:
    other = ImageSource(("other",), (Layer(files={"x": (b"x", 0o644)}),), {})
    write_archive(tmp_path / "two.tar", [SOURCE, other])
    with open_archive(tmp_path / "two.tar") as archive:
        assert len(archive.images) == 2
    with pytest.raises(ArchiveError, match="holds 2 images"), open_archive(tmp_path / "two.tar", name="one"):
        pass
