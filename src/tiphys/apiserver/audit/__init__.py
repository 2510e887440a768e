"""Who did what, when, and what came of it: events of audit.k8s.io/v1, as much of each as a policy says.

`policy` reads the policy and decides how much (pure), `record` gathers one request, `log` writes lines to a file that it
rotates. Without a policy none of this runs. https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""
