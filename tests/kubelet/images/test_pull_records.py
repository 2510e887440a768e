"""What is remembered of pulls, over a restart of the kubelet too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tiphys.kubelet.images.keyring import AccountSource, Credential, Source
from tiphys.kubelet.images.pull_records import PullRecords, Verification
from tiphys.kubelet.runtimes.interface import Image, RegistryAuth

ID = "sha256:" + "1" * 64
NOW = datetime(2026, 1, 1, tzinfo=UTC)
APP = Image(ID, ("quay.io/team/app:1",), (), 1024)


def records(directory: Path | None = None, verification: Verification | None = None) -> PullRecords:
    return PullRecords(lambda: NOW, directory, verification or Verification())


def credential(password: str, secret: str = "s") -> Credential:
    return Credential(RegistryAuth("me", password), Source(f"uid-{secret}", "default", secret))


@pytest.mark.parametrize(
    ("policy", "allowed", "here_before", "pulled"),
    [
        ("NeverVerifyPreloadedImages", (), False, True),
        ("NeverVerify", (), False, False),
        ("AlwaysVerify", (), True, True),
        ("NeverVerifyAllowlistedImages", ("quay.io/team/app",), False, False),
        ("NeverVerifyAllowlistedImages", ("quay.io/team/*",), False, False),
        ("NeverVerifyAllowlistedImages", ("quay.io/team/ap",), True, True),
    ],
)
def test_policies(policy: str, allowed: tuple[str, ...], here_before: bool, pulled: bool) -> None:
    known = records(verification=Verification(policy, allowed))
    assert known.must_pull("quay.io/team/app:1", ID, ()) is here_before
    known.succeeded("quay.io/team/app:1", ID, credential("pw"))
    assert known.must_pull("quay.io/team/app:1", ID, ()) is pulled


def test_they_outlive_the_process_and_hold_no_password(tmp_path: Path) -> None:
    records(tmp_path).succeeded("quay.io/team/app:1", ID, credential("hunter2"))
    again = records(tmp_path)
    again.load([APP])
    assert again.must_pull("quay.io/team/app:1", ID, [credential("wrong", "other")])
    assert not again.must_pull("quay.io/team/app:1", ID, [credential("hunter2", "other")])
    for file in tmp_path.rglob("sha256-*"):
        assert "hunter2" not in file.read_text()
        assert file.stat().st_mode & 0o077 == 0


def test_accounts_are_remembered_as_upstream_writes_them(tmp_path: Path) -> None:
    account = AccountSource("uid-a", "default", "a")
    records(tmp_path).succeeded("quay.io/team/app:1", ID, Credential(RegistryAuth("me", "a token"), account))
    [file] = (tmp_path / "image_manager" / "pulled").iterdir()
    written = json.loads(file.read_text())["credentialMapping"]
    mine = {"uid": "uid-a", "namespace": "default", "name": "a"}
    assert written == {"quay.io/team/app": {"kubernetesServiceAccounts": [mine]}}
    again = records(tmp_path)
    again.load([APP])
    assert not again.must_pull("quay.io/team/app:1", ID, [Credential(RegistryAuth("me", "new"), account)])
    assert again.must_pull("quay.io/team/app:1", ID, [credential("a token")])


def test_a_rotated_secret_is_the_same_secret() -> None:
    known = records()
    known.succeeded("quay.io/team/app:1", ID, credential("old"))
    assert not known.must_pull("quay.io/team/app:1", ID, [credential("new")])
    assert not known.must_pull("quay.io/team/app:1", ID, [credential("new", "a copy of it")])


def test_another_name_of_the_same_image_is_another_matter() -> None:
    known = records()
    known.succeeded("quay.io/team/app:1", ID, None)
    assert not known.must_pull("quay.io/team/app:2", ID, ())
    assert known.must_pull("registry.example/copy:1", ID, ())


def test_a_pull_that_a_crash_cut_off_leaves_an_image_of_unknown_credentials(tmp_path: Path) -> None:
    records(tmp_path).begin("quay.io/team/app:1")
    again = records(tmp_path)
    again.load([APP])
    assert again.must_pull("quay.io/team/app:1", ID, ())
    assert list((tmp_path / "image_manager" / "pulling").iterdir()) == []


def test_what_is_gone_from_the_node_is_forgotten(tmp_path: Path) -> None:
    known = records(tmp_path)
    known.succeeded("quay.io/team/app:1", ID, credential("pw"))
    known.prune([], NOW)  # it may have come after somebody looked
    assert known.must_pull("quay.io/team/app:1", ID, ())
    known.prune([], NOW + timedelta(seconds=1))
    assert not known.must_pull("quay.io/team/app:1", ID, ())
    assert list((tmp_path / "image_manager" / "pulled").iterdir()) == []


def test_a_record_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    known = records(tmp_path)
    known.succeeded("quay.io/team/app:1", ID, credential("pw"))
    [file] = (tmp_path / "image_manager" / "pulled").iterdir()
    file.write_text("{")
    again = records(tmp_path)
    again.load([APP])
    assert again.must_pull("quay.io/team/app:1", ID, [credential("pw")])
    again.succeeded("quay.io/team/app:1", ID, credential("pw"))
    assert not again.must_pull("quay.io/team/app:1", ID, [credential("pw")])
