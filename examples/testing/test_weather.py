"""A night of bad weather in milliseconds: a node is lost, pods crash, time passes. With `speed=0` nothing sleeps."""

import unittest

from tiphys.testing import Cluster

POD = """
apiVersion: v1
kind: Pod
metadata: {name: db}
spec: {containers: [{name: db, image: postgres}]}
"""


class NightTest(unittest.TestCase):
    def setUp(self) -> None:
        self.cluster = self.enterContext(Cluster(nodes=2, speed=0))

    def test_pods_of_a_lost_node_are_evicted_after_five_minutes(self) -> None:
        self.cluster.load(POD)
        node = self.cluster.wait_for("pod/db", "Ready")["spec"]["nodeName"]
        self.cluster.nodes.power_off(node)
        self.cluster.wait_for(f"node/{node}", "Ready=Unknown", timeout_seconds=60)
        self.cluster.wait_for("pod/db", "jsonpath={.metadata.deletionTimestamp}", timeout_seconds=400)

    def test_a_crashing_pod_backs_off(self) -> None:
        self.cluster.pods.behave("db", run_seconds=1, exit_code=1)
        self.cluster.load(POD)
        self.cluster.clock.advance(3600)
        db = self.cluster.get("pod/db")
        assert db is not None
        # At once, then after 10 s, 20 s, 40 s … and every 5 min: an hour has room for 16.
        assert db["status"]["containerStatuses"][0]["restartCount"] == 16
