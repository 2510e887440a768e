"""Warnings: what is allowed, but better were otherwise. One module a family of kinds."""
