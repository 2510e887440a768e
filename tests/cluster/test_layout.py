"""Where clusters are found, and what is said when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.cluster import blueprint
from tiphys.cluster import layout as places
from tiphys.cluster.layout import ClusterConfig, ClusterError, Layout


def config(**changes: object) -> ClusterConfig:
    given = {
        "name": "default",
        "nodes": 1,
        "datastore": "sqlite",
        "runtime": "containerd",
        "api_port": 6443,
        "index": 0,
    }
    return ClusterConfig(**{**given, **changes})  # type: ignore[arg-type]


def test_a_cluster_is_found_by_its_name_wherever_its_data_are(tmp_path: Path) -> None:
    home, layout = tmp_path / "home", Layout(tmp_path / "elsewhere")
    places.write_config(layout, config())
    places.remember(home, "default", layout)
    assert places.require_layout(home, "default") == layout
    assert places.read_config(layout) == config()
    assert places.known_names(home) == ["default"]
    places.forget(home, "default")
    with pytest.raises(ClusterError, match="there is no cluster 'default'"):
        places.require_layout(home, "default")


@pytest.mark.parametrize("name", ["", "Web", "-a", "a-", "a_b", "a/b", "..", "x" * 41])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ClusterError):
        places.check_name(name)


def test_each_cluster_of_a_home_has_a_number_of_its_own(tmp_path: Path) -> None:
    assert places.free_index(tmp_path) == 0
    for name, index in (("one", 0), ("three", 2)):
        layout = Layout(tmp_path / name)
        places.write_config(layout, config(name=name, index=index))
        places.remember(tmp_path, name, layout)
    assert places.free_index(tmp_path) == 1


def test_a_damaged_configuration_is_said_to_be_damaged(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for text in ("{", "[]", '{"name": "x"}'):
        layout.config.write_text(text)
        with pytest.raises(ClusterError, match="is damaged"):
            places.read_config(layout)


def test_the_state_home_follows_the_environment() -> None:
    assert places.state_home({"TIPHYS_HOME": "/srv/t"}) == Path("/srv/t")
    assert places.state_home({"HOME": "/home/ada"}) == Path("/home/ada/.local/share/tiphys")


def test_nodes_are_named_after_the_cluster() -> None:
    assert config(nodes=2).node_names == ["node-1", "node-2"]
    assert config(name="dev").node_names == ["dev-node-1"]
    assert config(name="dev").node_address(3) == "10.90.0.13"
    assert config(runtime="simulated", index=4).node_address(3) == "127.90.4.11"


def test_simulated_nodes_share_one_kubelet() -> None:
    assert list(blueprint.kubelet_numbers(config(nodes=3, runtime="simulated"))) == [1]
    assert list(blueprint.kubelet_numbers(config(nodes=3))) == [1, 2, 3]


def test_control_groups_of_two_clusters_of_one_name_differ() -> None:
    one, other = Layout(Path("/a/default")), Layout(Path("/b/default"))
    assert blueprint.node_cgroup(one, config(), "node-1") != blueprint.node_cgroup(other, config(), "node-1")


def test_the_api_servers_certificate_names_every_way_to_it() -> None:
    apiserver = next(leaf for leaf in blueprint.leaves(config()) if leaf.file == "apiserver")
    expected = {"127.0.0.1", "localhost", "10.96.0.1", "10.90.0.1", "kubernetes.default.svc"}
    assert expected <= set(apiserver.names)
    to_kubelets = next(leaf for leaf in blueprint.leaves(config()) if leaf.file == "apiserver-kubelet-client")
    assert (to_kubelets.user, to_kubelets.groups) == ("kube-apiserver-kubelet-client", ())
    kubelet = next(leaf for leaf in blueprint.leaves(config()) if leaf.file == "kubelet-node-1")
    assert (kubelet.user, kubelet.groups) == ("system:node:node-1", ("system:nodes",))
