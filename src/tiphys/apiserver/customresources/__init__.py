"""Kinds that are made at run time: what a CustomResourceDefinition becomes, and how it lives and ends.

`rows.py` turns a definition into rows like those of the built-in kinds; `kinds.py` keeps them in the scheme; `status.py` decides
what stands in the definition's status; `lifecycle.py` writes it, and takes everything away when a definition is deleted.
"""
