"""Revisioned bytes: the one place where the cluster's state lives. It knows keys and bytes, no kinds.

`interface` is the contract, `memory` and `sqlite` keep it; nothing is imported here so that each costs only what it needs.
"""
