"""Credentials for registries from plugins on the node: programs that are asked when an image is to be pulled (KEP-2133, KEP-4412)."""
