"""What containerd forgets of networks when it is killed, and what is taken for that."""

from __future__ import annotations

import json
from pathlib import Path

from tiphys.kubelet.runtimes.cri.lost_networks import (
    SETTLE_SECONDS,
    Lost,
    LostNetworks,
    present,
    read_network,
)

FOUND = Lost(frozenset({"mine", "lost"}), frozenset({"/n/mine", "/n/lost"}))
OWNED = Lost(frozenset({"mine", "elsewhere"}), frozenset({"/n/mine"}))
LOST = Lost(frozenset({"lost"}), frozenset({"/n/lost"}))


def test_what_has_no_owner_twice_is_lost() -> None:
    networks = LostNetworks()
    assert networks.judge(FOUND, OWNED, 100.0) == Lost()
    assert networks.waits
    assert networks.judge(FOUND, OWNED, 100.0 + SETTLE_SECONDS - 1) == Lost(), "it may be in the making"
    assert networks.judge(FOUND, OWNED, 100.0 + SETTLE_SECONDS) == LOST
    assert not networks.waits


def test_what_finds_its_owner_is_not_lost() -> None:
    networks = LostNetworks()
    networks.judge(FOUND, OWNED, 100.0)
    assert networks.judge(FOUND, FOUND, 200.0) == Lost()
    assert not networks.waits


def test_what_is_new_without_an_owner_waits_its_time() -> None:
    networks = LostNetworks()
    networks.judge(LOST, OWNED, 100.0)
    new = Lost(frozenset({"new"}))
    both = Lost(LOST.ids | new.ids, LOST.namespaces)
    assert networks.judge(both, OWNED, 200.0) == LOST
    assert networks.waits
    assert networks.judge(new, OWNED, 300.0) == new


def test_a_node_without_losses_is_looked_at_once() -> None:
    networks = LostNetworks()
    networks.judge(OWNED, OWNED, 100.0)
    assert not networks.waits


def configured(**config: object) -> dict[str, str]:
    plugins = [{"Source": json.dumps({"type": "bridge"})}, {"Source": json.dumps({"type": "portmap"})}]
    networks = [
        {"IFName": "lo", "Config": {}},
        {"IFName": "eth0", "Config": {"Name": "pods", "CNIVersion": "0.4.0", "Plugins": plugins}},
    ]
    cni = {"PluginDirs": ["/usr/lib/cni"], "Networks": networks}
    own = {"stateDir": "/run/c", "netnsMountsUnderStateDir": True, **config}
    return {"config": json.dumps(own), "cniconfig": json.dumps(cni)}


def test_the_network_as_containerd_tells_it(tmp_path: Path) -> None:
    network = read_network(configured(stateDir=str(tmp_path / "run")))
    assert network is not None
    assert [plugin["type"] for plugin in network.plugins] == ["bridge", "portmap"]
    addresses = tmp_path / "cni" / "networks" / "pods"
    addresses.mkdir(parents=True)
    (addresses / "10.91.1.2").write_text("one\r\neth0")
    (addresses / "10.91.1.3").write_text("")
    (addresses / "last_reserved_ip.0").write_text("10.91.1.2")
    (addresses / "lock").touch()
    namespaces = tmp_path / "run" / "netns"
    namespaces.mkdir(parents=True)
    (namespaces / "cni-1").touch()
    assert present(network, tmp_path / "cni") == Lost(
        frozenset({"one"}), frozenset({str(namespaces / "cni-1")})
    )


def test_where_others_have_namespaces_too_none_is_touched() -> None:
    assert read_network(configured(netnsMountsUnderStateDir=False)) is None
    assert read_network({}) is None
