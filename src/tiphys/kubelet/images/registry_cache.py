"""What was had from real registries, kept on the node's disk.

    <directory>/blobs/sha256/<hex>                  manifests, configurations and layers, each under the digest of what it is
    <directory>/partial/<digest>                    what is being downloaded
    <directory>/repositories/<digest of its name>/  of one repository:
        name                                        the registry and path that it stands for
        holds/<digest>                              that the repository has such a blob, its media type, and whether for everybody
        tags/<tag>                                  the digest that a tag stood for when it was last asked for

A blob lies there once; who may have it is said for each repository, so that nobody gets a private image's layers by naming a public
repository. No credential is kept. When there is too much, what was not used for longest goes. All state is in the files: `tiphys
image rm` looks at them while the mirror runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from tiphys.kubelet.images.names import parse
from tiphys.machinery.frozen import frozen

LIMIT_BYTES = 4 << 30


def _remove(files: Iterable[tuple[Path, os.stat_result]], wanted_bytes: int) -> int:
    """The first of them, until so much is free; how much it was."""
    freed = 0
    for path, state in files:
        if freed >= wanted_bytes:
            break
        path.unlink(missing_ok=True)
        freed += state.st_size
    return freed


@frozen
class Held:
    """A repository's entry of a blob. `is_public`: it was had from there without credentials."""

    media_type: str
    is_public: bool


@frozen
class RegistryCache:
    """Of one node. `repository` is registry and path: "docker.io/library/busybox"."""

    directory: Path
    limit_bytes: int = LIMIT_BYTES

    def begin(self) -> None:
        """Once, when the mirror starts: downloads that were cut off are dropped. What is here is not for all users of the machine."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        shutil.rmtree(self._partials, ignore_errors=True)

    @property
    def _partials(self) -> Path:
        return self.directory / "partial"

    def _repository(self, repository: str) -> Path:
        return self.directory / "repositories" / hashlib.sha256(repository.encode()).hexdigest()[:32]

    # Blobs

    def path(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self.directory / "blobs" / algorithm / value

    def partial(self, digest: str) -> Path:
        """Where to write what will be `keep`t."""
        self._partials.mkdir(parents=True, exist_ok=True)
        return self._partials / digest.replace(":", "-")

    def find(self, repository: str, digest: str) -> Held | None:
        """The repository's entry if the blob is here, which counts as use."""
        try:
            entry = json.loads((self._repository(repository) / "holds" / digest).read_text())
            os.utime(self.path(digest))
        except (OSError, ValueError):
            return None
        return Held(entry.get("mediaType", ""), bool(entry.get("public")))

    def keep(self, repository: str, digest: str, held: Held, partial: Path) -> None:
        """Takes a whole and verified file over."""
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)
        self.note(repository, digest, held)
        self._make_room(path)

    def note(self, repository: str, digest: str, held: Held) -> None:
        """The repository has this blob; what was public once stays so: everybody may have it already."""
        before = self.find(repository, digest)
        is_public = held.is_public or (before is not None and before.is_public)
        text = json.dumps({"mediaType": held.media_type, "public": is_public})
        self._write(repository, f"holds/{digest}", text)

    def _make_room(self, newest: Path) -> None:
        files = self._by_use()
        excess = sum(state.st_size for _, state in files) - self.limit_bytes
        _remove([entry for entry in files if entry[0] != newest], excess)

    def free(self, wanted_bytes: int | None = None) -> int:
        """Gives so much back, or all; how many bytes it was."""
        files = self._by_use()
        return _remove(
            files, sum(state.st_size for _, state in files) if wanted_bytes is None else wanted_bytes
        )

    def _by_use(self) -> list[tuple[Path, os.stat_result]]:
        files = [(path, path.stat()) for path in (self.directory / "blobs").glob("*/*")]
        return sorted(files, key=lambda entry: entry[1].st_mtime_ns)

    # Tags

    def tag(self, repository: str, tag: str) -> str:
        """The digest that it stood for; empty: it is not known."""
        try:
            return (self._repository(repository) / "tags" / tag).read_text()
        except OSError:
            return ""

    def set_tag(self, repository: str, tag: str, digest: str) -> None:
        self._write(repository, f"tags/{tag}", digest)

    def forget_tag(self, repository: str, tag: str) -> None:
        (self._repository(repository) / "tags" / tag).unlink(missing_ok=True)

    def _write(self, repository: str, name: str, text: str) -> None:
        top = self._repository(repository)
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (top / "name").exists():
            (top / "name").write_text(repository)
        unfinished = path.with_name(f".{path.name}")
        unfinished.write_text(text)
        unfinished.replace(path)

    # Images, as people name them

    def images(self) -> Iterator[tuple[str, str]]:
        """(name with its tag, digest) of what is here."""
        for top in sorted((self.directory / "repositories").glob("*")):
            repository = (top / "name").read_text()
            for tag in sorted((top / "tags").glob("[!.]*")):
                if self.path(digest := tag.read_text()).exists():
                    yield f"{repository}:{tag.name}", digest

    def remove(self, image: str) -> bool:
        """Forgets an image; False when it is not here. What no repository holds any more goes from the disk."""
        name = parse(image)
        top = self._repository(name.repository)
        digest = name.digest or self.tag(name.repository, name.tag)
        if not digest or not (top / "holds" / digest).exists():
            return False
        for tag in (top / "tags").glob("[!.]*"):
            if tag.name == name.tag or (name.digest and tag.read_text() == digest):
                tag.unlink()
        if not any(tag.read_text() == digest for tag in (top / "tags").glob("[!.]*")):
            for child in (digest, *self._below(digest)):
                (top / "holds" / child).unlink(missing_ok=True)
        self._drop_orphans()
        return True

    def _below(self, digest: str) -> list[str]:
        """What a manifest or an index leads to."""
        try:
            document = json.loads(self.path(digest).read_bytes())
            entries = [*(document.get("manifests") or ()), *(document.get("layers") or ())]
            entries += [document["config"]] if document.get("config") else []
            children = [str(entry["digest"]) for entry in entries]
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            return []
        return [*children, *(deeper for child in children for deeper in self._below(child))]

    def _drop_orphans(self) -> None:
        held = {path.name for path in (self.directory / "repositories").glob("*/holds/*")}
        for path in (self.directory / "blobs").glob("*/*"):
            if f"{path.parent.name}:{path.name}" not in held:
                path.unlink(missing_ok=True)
