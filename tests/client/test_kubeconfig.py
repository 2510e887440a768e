"""A context goes into a file that others own, and comes out of it again."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tiphys.client import kubeconfig
from tiphys.client.kubeconfig import Access, KubeconfigError

OURS = Access("https://127.0.0.1:6443", b"CA", b"CERT", b"KEY")
THEIRS = """
apiVersion: v1
kind: Config
current-context: work
clusters: [{name: work, cluster: {server: https://work}}]
users: [{name: me, user: {token: t, exec: {command: login}}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: team}}]
extensions: [{name: x}]
"""


def test_what_is_made_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "admin.kubeconfig"
    kubeconfig.save(path, kubeconfig.make("tiphys", OURS))
    assert kubeconfig.access(path) == OURS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_merging_keeps_what_others_put_there(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(THEIRS)
    kubeconfig.merge_into(path, kubeconfig.make("tiphys", OURS))
    kubeconfig.merge_into(path, kubeconfig.make("tiphys", Access("https://127.0.0.1:7000")))
    merged = yaml.safe_load(path.read_text())
    assert merged["current-context"] == "tiphys"
    assert merged["extensions"] == [{"name": "x"}]
    assert merged["users"][0]["user"]["exec"] == {"command": "login"}
    assert [entry["name"] for entry in merged["clusters"]] == ["work", "tiphys"]
    assert kubeconfig.access(path, "work").namespace == "team"
    assert kubeconfig.access(path, "tiphys").server == "https://127.0.0.1:7000"


def test_removing_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(THEIRS)
    before = yaml.safe_load(THEIRS)
    kubeconfig.merge_into(path, kubeconfig.make("tiphys", OURS), make_current=False)
    kubeconfig.remove_from(path, "tiphys")
    assert yaml.safe_load(path.read_text()) == before
    kubeconfig.remove_from(tmp_path / "absent", "tiphys")


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles"
    real.write_text(THEIRS)
    link = tmp_path / "config"
    link.symlink_to(real)
    kubeconfig.merge_into(link, kubeconfig.make("tiphys", OURS))
    assert link.is_symlink()
    assert "tiphys" in real.read_text()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(THEIRS)
    with pytest.raises(yaml.YAMLError):
        kubeconfig.save(path, {"bad": object()})
    assert path.read_text() == THEIRS
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"CA")
    path = tmp_path / "config"
    path.write_text(
        THEIRS.replace("server: https://work", "server: https://work, certificate-authority: ca.pem")
    )
    assert kubeconfig.access(path).certificate_authority == b"CA"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is not a kubeconfig"),
        ("a: [", "is not YAML"),
        ("current-context: x", "has no context 'x'"),
        (THEIRS.replace("server: https://work", ""), "has no server"),
        (THEIRS.replace("token: t", "client-key-data: '%'"), "is not base64"),
        (THEIRS.replace("token: t", "client-key: absent.pem"), "cannot read"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=message):
        kubeconfig.access(path)


def test_what_is_no_kubeconfig_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for text in ("clusters: none", "users: [nobody]", "contexts: [{context: {}}]"):
        path.write_text(text)
        with pytest.raises(KubeconfigError, match="is not a kubeconfig"):
            kubeconfig.merge_into(path, {})
        assert path.read_text() == text
    assert os.listdir(tmp_path) == ["config"]


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / ".kube" / "config"
    names = [f"cluster-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda name: kubeconfig.merge_into(path, kubeconfig.make(name, Access("https://x"))), names
            )
        )
    assert sorted(entry["name"] for entry in kubeconfig.load(path)["contexts"]) == names
    assert os.listdir(path.parent) == ["config"]


def test_the_place_is_kubectls(tmp_path: Path) -> None:
    """It reads all files of $KUBECONFIG, and writes to the first that exists, else to the last."""
    one, two = tmp_path / "one", tmp_path / "two"
    environment = {"KUBECONFIG": f"{one}::{two}", "HOME": "/h"}
    assert kubeconfig.paths(environment) == [one, two]
    assert kubeconfig.default_path(environment) == two
    one.touch()
    two.touch()
    assert kubeconfig.default_path(environment) == one
    one.unlink()
    assert kubeconfig.default_path(environment) == two
    assert kubeconfig.default_path({"HOME": "/h"}) == Path("/h/.kube/config")
