"""Admission policies: rules and changes in CEL (ValidatingAdmissionPolicy, MutatingAdmissionPolicy).

`hooks.py` follows policies and their bindings and compiles each policy once a generation; `parameters.py` finds what bindings
refer to; `evaluation.py` runs expressions within their budget; `validating.py` and `mutating.py` are the two plugins.
docs/decisions/0018-admission-policies.md says why it is built so.
"""
