"""Tiphys: Kubernetes, whole, in Python."""
