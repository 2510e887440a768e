from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tiphys.cluster.containerd_config import (
    CRI,
    Machine,
    Settings,
    config_toml,
    conflist,
    files,
    has_capability,
    hosts_toml,
    toml,
)

MACHINE = Machine("/usr/bin/crun", "/usr/lib/cni", may_lower_oom_scores=True, has_apparmor=False)
SETTINGS = Settings(Path('/data/"odd" dir'), "localhost/pause:1", "10.91.1.0/24", "http://127.0.0.83:5000")


def test_the_configuration_is_toml_that_says_what_we_mean() -> None:
    config = tomllib.loads(config_toml(SETTINGS, MACHINE))
    cri = config["plugins"][CRI]
    assert (config["version"], config["root"]) == (2, '/data/"odd" dir/root')
    assert config["grpc"]["address"] == "/run/containerd/containerd.sock"
    assert cri["sandbox_image"] == "localhost/pause:1"
    assert cri["containerd"]["default_runtime_name"] == "crun"
    assert cri["containerd"]["runtimes"]["crun"]["options"] == {"BinaryName": "/usr/bin/crun"}
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": '/data/"odd" dir/net.d'}
    assert cri["registry"]["config_path"] == '/data/"odd" dir/certs.d'


def test_what_the_machine_may_not_do_is_not_tried() -> None:
    able, unable = MACHINE, Machine("/usr/sbin/runc", "/x", may_lower_oom_scores=False, has_apparmor=True)
    settings = [tomllib.loads(config_toml(SETTINGS, machine))["plugins"][CRI] for machine in (able, unable)]
    assert [cri["restrict_oom_score_adj"] for cri in settings] == [False, True]
    assert [cri["disable_apparmor"] for cri in settings] == [True, False]
    assert [list(cri["containerd"]["runtimes"]) for cri in settings] == [["crun"], ["runc"]]


def test_a_runtime_class_may_name_each_runtime_that_is_there() -> None:
    both = Machine(
        "/usr/bin/crun",
        "/x",
        may_lower_oom_scores=True,
        has_apparmor=False,
        other_runtimes=("/usr/sbin/runc",),
    )
    found = tomllib.loads(config_toml(SETTINGS, both))["plugins"][CRI]["containerd"]
    assert found["default_runtime_name"] == "crun"
    assert found["runtimes"]["runc"]["options"] == {"BinaryName": "/usr/sbin/runc"}


def test_the_mirror_is_asked_for_every_registry() -> None:
    assert tomllib.loads(hosts_toml("http://127.0.0.83:5000")) == {
        "host": {"http://127.0.0.83:5000": {"capabilities": ["pull", "resolve"]}}
    }
    written = files(SETTINGS, MACHINE)
    assert SETTINGS.directory / "certs.d/_default/hosts.toml" in written
    without = Settings(SETTINGS.directory, SETTINGS.sandbox_image, SETTINGS.pod_cidr)
    assert len(files(without, MACHINE)) == len(written) - 1


def test_pods_keep_their_source_address() -> None:
    bridge, portmap = json.loads(conflist("10.91.1.0/24"))["plugins"]
    assert (bridge["ipMasq"], bridge["hairpinMode"], bridge["isGateway"]) == (False, True, True)
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.91.1.0/24"}]]
    assert portmap["capabilities"] == {"portMappings": True}


@pytest.mark.parametrize(("mask", "expected"), [("000001fffeffffff", False), ("000001ffffffffff", True)])
def test_a_capability_is_one_bit(mask: str, expected: bool) -> None:
    assert has_capability(f"Name:\tx\nCapEff:\t{mask}\n", 24) is expected


def test_toml_of_nested_tables() -> None:
    table = {"a": 1, "t.x": {"b": [True, "c"], "u": {"d": 'quo"te'}}, "e": "é\n"}
    assert tomllib.loads(toml(table)) == table
