"""Server-side apply, and who owns which fields (KEP-555, "Server-side apply").

`fieldset` is the vocabulary: sets of field paths as `metadata.managedFields` carries them. `shapes` says how the parts of
a type are owned, `typed` what an object sets and in what two of them differ, `merging` changes objects by it. On top,
`updates.update` keeps the owners at every ordinary write, and `applying.apply` is server-side apply itself.
"""

from tiphys.machinery.apply.applying import apply
from tiphys.machinery.apply.fieldset import FieldSet
from tiphys.machinery.apply.managers import (
    differs_only_in_times,
    manager_name,
    validate_field_manager,
)
from tiphys.machinery.apply.shapes import Shape, shape_of
from tiphys.machinery.apply.target import RESET_SPEC, RESET_STATUS, Target
from tiphys.machinery.apply.updates import update

__all__ = [
    "RESET_SPEC",
    "RESET_STATUS",
    "FieldSet",
    "Shape",
    "Target",
    "apply",
    "differs_only_in_times",
    "manager_name",
    "shape_of",
    "update",
    "validate_field_manager",
]
