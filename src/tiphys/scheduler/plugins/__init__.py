"""The rules of placement, one a file. The order of the filters decides which reason a node is counted under."""

from tiphys.scheduler.plugins.image_locality import ImageLocality
from tiphys.scheduler.plugins.interface import Filter, Score
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.node_name import NodeName
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.plugins.node_resources_balanced import NodeResourcesBalancedAllocation
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.plugins.node_unschedulable import NodeUnschedulable
from tiphys.scheduler.plugins.taint_toleration import TaintToleration

_TAINTS = TaintToleration()
_AFFINITY = NodeAffinity()
_FIT = NodeResourcesFit()

FILTERS: tuple[Filter, ...] = (NodeUnschedulable(), NodeName(), _TAINTS, _AFFINITY, NodePorts(), _FIT)
SCORES: tuple[Score, ...] = (_TAINTS, _AFFINITY, _FIT, NodeResourcesBalancedAllocation(), ImageLocality())

__all__ = ["FILTERS", "SCORES", "Filter", "Score"]
