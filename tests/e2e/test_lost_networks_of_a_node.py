"""A network namespace and an address that containerd forgot when it was killed: the kubelet gives them back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from e2e_cluster import running, wait_for
from node_truth import NETWORK_NAMESPACES, look, node_directory
from pod_world import PodWorld, pod
from weather import kill, processes

from tiphys.cluster.namespaces import find_node
from tiphys.kubelet.runtimes.interface import RuntimeFailure

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodWorld]:
    for cluster in running(tmp_path_factory.mktemp("lost"), "lost"):
        world = PodWorld(cluster)
        world.wait_for_account()
        yield world


def test_what_was_forgotten_is_given_back(world: PodWorld) -> None:
    world.create(pod("stays", "sleep 1000"))
    stays = world.until("stays", lambda pod: pod["status"]["phase"] == "Running")["metadata"]["uid"]
    node = find_node(node_directory(world.cluster))
    assert node is not None
    lost = f"/{NETWORK_NAMESPACES}/cni-lost"
    script = f"touch {lost} && unshare --net={lost} true && printf 'forgotten\\r\\neth0' > /var/lib/cni/networks/tiphys/10.91.0.99"
    subprocess.run([*node.enter, "sh", "-c", script], check=True)
    before = look(world.cluster).leaks({stays})
    assert "addresses {'10.91.0.99'}" in before
    assert "2 network namespaces, not 1" in before
    kill(*processes(world.cluster, "containerd", "config.toml"))

    def is_clean() -> bool:
        try:
            return look(world.cluster).leaks({stays}) == []
        except RuntimeFailure:
            return False

    wait_for(is_clean, "what was forgotten is gone", seconds=300)
    assert world.pod("stays")["status"]["containerStatuses"][0]["restartCount"] == 0
