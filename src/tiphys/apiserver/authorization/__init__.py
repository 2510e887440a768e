"""May they? The step of the pipeline, and the authorizers that it asks one after the other.

Administrators (system:masters) may do everything, whatever the modes say. Then the modes of `--authorization-mode` are asked
in their order; whoever allows or denies ends it. `rbac` and `node` decide from the caches; `reconcile` makes the roles
that every cluster begins with (`default.roles`), `escalation` keeps people from giving away what they do not have.
"""

from tiphys.apiserver.authorization.chain import Authorizers, authorize
from tiphys.apiserver.authorization.interface import Authorizer, Decision, Rules, Verdict

__all__ = ["Authorizer", "Authorizers", "Decision", "Rules", "Verdict", "authorize"]
