"""What the openAPIV3Schema of a CustomResourceDefinition (apiextensions.k8s.io/v1) means. No I/O.

`schema` is the whole of it for objects: read (`pruning`), default (`defaulting`), validate (`values`, `embedded`,
`listtypes`, `evaluation` of `rules`). `gates` answers most questions in microseconds; the modules just named are exact.
For the definition itself: `structurality`, `definitions`; for clients: `openapi`. docs/decisions/0013 says why so.
"""

from tiphys.machinery.structural.definitions import non_structural_reasons, schema_errors
from tiphys.machinery.structural.fieldpaths import FieldPathError, resolve, selectable_errors
from tiphys.machinery.structural.openapi import openapi
from tiphys.machinery.structural.schema import StructuralSchema

__all__ = [
    "FieldPathError",
    "StructuralSchema",
    "non_structural_reasons",
    "openapi",
    "resolve",
    "schema_errors",
    "selectable_errors",
]
