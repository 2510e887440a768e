"""Runtimes: what runs a node's pods. `interface` is the seam; `cri` is containerd, `simulated` is nothing real."""
