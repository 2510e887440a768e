"""Who may use an image that is on the node already (KEP-2535): whoever shows credentials that it was pulled with.

The kubelet remembers each of its pulls: which image, by what name, with the credentials of which secrets. A pod that asks for an image
that is here, with policy IfNotPresent or Never, must show one of those; else the registry is asked again. Which images are looked
at so is the policy's matter; by default all that the kubelet pulled, and none that was there before.

The files are upstream's: <kubelet's directory>/image_manager/pulling and pulled, a record each. No credential is in them, only digests.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tiphys.kubelet.images.keyring import AccountSource, Credential, Source
from tiphys.kubelet.images.names import InvalidName, parse
from tiphys.kubelet.runtimes.interface import Image
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

API_VERSION = "kubelet.config.k8s.io/v1beta1"
SECRET_LIMIT = 100
"""So many secrets of one image are learnt by merely looking; more only by pulls."""

POLICIES = ("NeverVerifyPreloadedImages", "NeverVerify", "NeverVerifyAllowlistedImages", "AlwaysVerify")
"""The first one is the default."""

Record = dict[str, Any]


@frozen
class Verification:
    """imagePullCredentialsVerificationPolicy, and the list that one of the policies has."""

    policy: str = POLICIES[0]
    allowed: tuple[str, ...] = ()
    """Names without tag, or "registry.example/path/*"."""

    def is_needed(self, image: str, *, was_pulled: bool) -> bool:
        """`was_pulled`: by this kubelet."""
        match self.policy:
            case "NeverVerify":
                return False
            case "AlwaysVerify":
                return True
            case "NeverVerifyAllowlistedImages":
                return not self._is_allowed(_repository(image))
            case _:
                return was_pulled

    def _is_allowed(self, repository: str) -> bool:
        return any(
            repository.startswith(name[:-1]) if name.endswith("/*") else repository == name
            for name in self.allowed
        )


@dataclass(slots=True)
class PullRecords:
    """Of one node. Without a directory nothing outlives the process."""

    now: Callable[[], datetime]
    directory: Path | None = None
    verification: Verification = field(default_factory=Verification)
    _pulled: dict[str, Record] = field(default_factory=dict)
    _pulling: dict[str, int] = field(default_factory=dict)
    _unreadable: set[str] = field(default_factory=set)
    """Names of files: an image was pulled, but nobody knows with what."""

    def load(self, images: Sequence[Image]) -> None:
        """Once, at the start. What was being pulled when the last kubelet died, and is here, is an image of unknown credentials."""
        for record in self._read("pulled"):
            self._pulled[record["imageRef"]] = record
        begun = {record["image"] for record in self._read("pulling")}
        for image in images:
            for name in _names_as_told(image, begun):
                self._note(name, image.id, None)
        for name in begun:
            self._delete("pulling", name)
        self.prune([image.id for image in images], self.now() + timedelta(days=1))

    def begin(self, image: str) -> None:
        """It is about to be pulled: should it appear, it was us."""
        self._pulling[image] = self._pulling.get(image, 0) + 1
        if self._pulling[image] == 1:
            self._write(
                "pulling", image, {"kind": "ImagePullIntent", "apiVersion": API_VERSION, "image": image}
            )

    def end(self, image: str) -> None:
        """The pull is over; before that, `succeeded` if it did."""
        left = self._pulling.pop(image, 1) - 1
        if left:
            self._pulling[image] = left
        else:
            self._delete("pulling", image)

    def succeeded(self, image: str, image_id: str, credential: Credential | None) -> None:
        """Pulled without credentials, or with the node's own: anybody's from now on."""
        source = credential.source if credential else None
        if credential is None or source is None:
            self._note(image, image_id, {"nodePodsAccessible": True})
        elif isinstance(source, AccountSource):
            self._note(image, image_id, {"kubernetesServiceAccounts": [_account(source)]})
        else:
            self._note(image, image_id, {"kubernetesSecrets": [_secret(credential, source)]})

    def must_pull(self, image: str, image_id: str, credentials: Sequence[Credential]) -> bool:
        """Whether the registry must say that these credentials may have an image that is here."""
        record = self._pulled.get(image_id)
        was_pulled = record is not None or image in self._pulling or _file_name(image_id) in self._unreadable
        if not self.verification.is_needed(image, was_pulled=was_pulled):
            return False
        known = ((record or {}).get("credentialMapping") or {}).get(_repository(image))
        if known is None:
            return True
        if known.get("nodePodsAccessible"):
            return False
        return not any(self._is_known(image, image_id, known, credential) for credential in credentials)

    def _is_known(self, image: str, image_id: str, known: Record, credential: Credential) -> bool:
        """The same credential from any secret, or the same secret with whatever credential it has now; both are learnt. Or the same account."""
        if credential.source is None:
            return False
        if isinstance(credential.source, AccountSource):
            return _account(credential.source) in (known.get("kubernetesServiceAccounts") or ())
        secrets = known.get("kubernetesSecrets") or ()
        shown = _secret(credential, credential.source)
        for secret in secrets:
            is_same_credential = secret["credentialHash"] == shown["credentialHash"]
            is_same_secret = {**secret, "credentialHash": ""} == {**shown, "credentialHash": ""}
            if is_same_credential or is_same_secret:
                if secret != shown and len(secrets) < SECRET_LIMIT:
                    self._note(image, image_id, {"kubernetesSecrets": [shown]})
                return True
        return False

    def prune(self, image_ids: Iterable[str], before: datetime) -> None:
        """Forgets the images that are not on the node any more: these are all that there were at that time."""
        for image_id in set(self._pulled) - set(image_ids):
            # Times in records are whole seconds.
            if meta.parse_time(self._pulled[image_id]["lastUpdatedTime"]) >= before.replace(microsecond=0):
                continue
            del self._pulled[image_id]
            self._delete("pulled", image_id)

    def _note(self, image: str, image_id: str, access: Record | None) -> None:
        record = self._pulled.get(image_id) or {
            "kind": "ImagePulledRecord",
            "apiVersion": API_VERSION,
            "imageRef": image_id,
        }
        mapping = dict(record.get("credentialMapping") or {})
        name = _repository(image)
        if access is not None:
            mapping[name] = merged(mapping.get(name), access)
        changed = {**record, "credentialMapping": mapping}
        if changed == self._pulled.get(image_id):
            return
        changed["lastUpdatedTime"] = meta.format_time(self.now())
        self._pulled[image_id] = changed
        self._write("pulled", image_id, changed)

    # On the disk

    def _path(self, kind: str, key: str) -> Path | None:
        return self.directory / "image_manager" / kind / _file_name(key) if self.directory else None

    def _write(self, kind: str, key: str, record: Record) -> None:
        path = self._path(kind, key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished = path.with_suffix(".tmp")
            unfinished.write_text(json.dumps(record))
            unfinished.chmod(0o600)
            unfinished.replace(path)
        except OSError as error:
            log.error("cannot remember a pull: %s", error)

    def _delete(self, kind: str, key: str) -> None:
        path = self._path(kind, key)
        if path is not None:
            path.unlink(missing_ok=True)

    def _read(self, kind: str) -> list[Record]:
        found = []
        directory = self.directory / "image_manager" / kind if self.directory else None
        for path in sorted(directory.glob("sha256-*")) if directory else ():
            try:
                record = json.loads(path.read_text()) if not path.suffix else None
            except (ValueError, OSError) as error:
                log.error("%s: %s", path, error)
                self._unreadable.add(path.name)
                continue
            key = {"pulled": "imageRef", "pulling": "image"}[kind]
            if isinstance(record, dict) and record.get(key):
                found.append(record)
        return found


def _file_name(key: str) -> str:
    return f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"


def merged(old: Record | None, new: Record) -> Record:
    """What an image may be had with, by what was known and what was learnt."""
    if old is None or new.get("nodePodsAccessible"):
        return new
    if old.get("nodePodsAccessible"):
        return old
    secrets = list(old.get("kubernetesSecrets") or ())
    for secret in new.get("kubernetesSecrets") or ():
        same = [at for at, known in enumerate(secrets) if known["uid"] == secret["uid"]]
        if same:
            secrets[same[0]] = secret
        else:
            secrets.append(secret)
    accounts = list(old.get("kubernetesServiceAccounts") or ())
    accounts += [each for each in new.get("kubernetesServiceAccounts") or () if each not in accounts]
    found = {"kubernetesSecrets": secrets, "kubernetesServiceAccounts": accounts}
    return {name: entries for name, entries in found.items() if entries}


def _secret(credential: Credential, source: Source) -> Record:
    return {
        "uid": source.uid,
        "namespace": source.namespace,
        "name": source.name,
        "credentialHash": credential.digest,
    }


def _account(source: AccountSource) -> Record:
    return {"uid": source.uid, "namespace": source.namespace, "name": source.name}


def _names_as_told(image: Image, begun: Iterable[str]) -> set[str]:
    """Those of the names that pods gave which mean this image."""
    names = {*image.repo_tags, *image.repo_digests}
    return {told for told in begun if _whole(told) in names}


def _whole(image: str) -> str:
    try:
        return str(parse(image))
    except InvalidName:
        return image


def _repository(image: str) -> str:
    try:
        return parse(image).repository
    except InvalidName:
        return image
