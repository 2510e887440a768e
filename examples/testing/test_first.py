"""The first test: a manifest, a wait, an assertion."""

from tiphys.testing import Namespace

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
"""


def test_three_pods_run(tiphys: Namespace) -> None:
    tiphys.load(WEB)
    tiphys.wait_for("deployment/web", "Available")
    assert len(tiphys.list("pods", selector="app=web")) == 3
