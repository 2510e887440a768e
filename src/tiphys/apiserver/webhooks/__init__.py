"""Calls to webhooks: programs in the cluster or elsewhere that the API server asks while it answers a request."""
