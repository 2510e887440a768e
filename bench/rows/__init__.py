"""All rows, in the order in which they are printed: one file for each noun, one function for each figure."""

from bench.rows import (
    access,
    authorization,
    control_plane,
    copies,
    custom_resources,
    full_node,
    kubelet,
    nodes,
    pods,
    requests,
    starts,
    store,
    testing,
)

ROWS = [
    *starts.ROWS,
    *control_plane.ROWS,
    *nodes.ROWS,
    *pods.ROWS,
    *copies.ROWS,
    *kubelet.ROWS,
    *full_node.ROWS,
    *requests.ROWS,
    *authorization.ROWS,
    *access.ROWS,
    *custom_resources.ROWS,
    *store.ROWS,
    *testing.ROWS,
]
