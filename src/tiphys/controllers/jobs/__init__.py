"""Jobs: pods that come to an end; CronJobs, which make jobs at certain times; and the removal of jobs that are over.

`job.py` is the controller of jobs. It decides with the words of the other files: `indexes.py` (which indexes are done), `policies.py`
(what a failure means), `backoff.py` (when to try again), `counting.py` (each pod counts once), `making.py` (pods), `deciding.py` (is it over).
"""
