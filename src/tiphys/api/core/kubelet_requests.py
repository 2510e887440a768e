"""What the API server tells a kubelet beside the request itself."""

NODE_HEADER = "tiphys-node"
"""Which node is meant: simulated nodes are many behind one address. Upstream's kubelets, each with its own, do not look at it."""
