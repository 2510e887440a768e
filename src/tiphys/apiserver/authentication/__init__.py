"""Who asks? The step of the pipeline, and the ways to show who one is.

`chain` tries them in upstream's order: a trusted proxy's headers (`request_header`), a client certificate, a bearer token
(`static_tokens`, `service_account_tokens`, `bootstrap_tokens`, `oidc/`, `token_webhook`), nobody (`anonymous`). Then `impersonation`
lets those who may act as somebody else.
"""

from tiphys.apiserver.authentication.chain import AUTHENTICATED, TokenReaders, authenticate
from tiphys.apiserver.authentication.impersonation import impersonate

__all__ = ["AUTHENTICATED", "TokenReaders", "authenticate", "impersonate"]
