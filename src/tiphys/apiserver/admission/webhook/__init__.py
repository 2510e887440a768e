"""Admission webhooks: programs outside that may change or refuse what is written (docs/decisions/0017-admission-webhooks.md).

`hooks` reads the configurations, `conditions` their match conditions; `review` says what is asked and what may be answered,
`calling` asks. `mutating` and `validating` are the two plugins. The behaviour is upstream's (apiserver
`pkg/admission/plugin/webhook`).
"""
