"""API priority and fairness (KEP-1040): which request may run now, which waits, and which is turned away.

`matching.py` says which schema and level a request belongs to, `queueset.py` is the fair queue of one level, `limits.py`
divides the server's seats among levels: these are pure, time is an argument. `configuration.py` reads the API's objects,
`controller.py` puts it all before the pipeline.
"""
