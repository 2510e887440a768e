"""Encryption at rest: what lies in the store is not what clients see (`--encryption-provider-config`).

`store.py` is the one seam: a Store around a Store. Without a configuration it is not there at all.
"""
