"""Users of other identity providers: `--authentication-config`, and `--oidc-*`, which say the same in flags.

`configuration` reads and checks the file, `claims` makes a user of a token's claims (both pure), `keys` fetches a provider's
keys, `authenticator` is the reader of tokens, `reload` follows changes of the file.
"""
