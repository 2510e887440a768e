"""Bootstrap tokens: what they may do, the signatures by which a joining machine trusts the cluster, and their end."""
