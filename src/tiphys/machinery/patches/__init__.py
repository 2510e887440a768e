"""The three patch languages: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch (Kubernetes' own).

Each is a pure function of a document and a patch, both as parsed JSON. None of them changes what it is given; the
result shares with the document whatever the patch left alone, so treat it as read-only too.
"""

from tiphys.machinery.patches.errors import BadPatchError, PatchError, patch_status
from tiphys.machinery.patches.json_patch import apply_json_patch
from tiphys.machinery.patches.merge_patch import apply_merge_patch
from tiphys.machinery.patches.strategic import PatchField, PatchSchema, apply_strategic_patch

__all__ = [
    "BadPatchError",
    "PatchError",
    "PatchField",
    "PatchSchema",
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic_patch",
    "patch_status",
]
