"""What a client left out of an object of the core group, and what is then assumed.

The rules are upstream's (`pkg/apis/core/v1/defaults.go` and the defaults declared on its types). Besides them, a field
that Go always writes, because its type is a struct (`resources: {}`, `status: {}`), is written here too: clients see the
same object from either server. Nulls are not written, though Go writes them for times that are not set (`lastProbeTime: null`):
to every client they mean the same as nothing, and an object with nulls is checked forty times slower.

Every function changes its argument in place and is idempotent.
"""
