"""The kubelet's own settings, as a file has them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tiphys.cluster.configure import Wanted, configure, kubelet_configuration
from tiphys.cluster.layout import ClusterError
from tiphys.kubelet.configuration import BadConfiguration, KubeletConfiguration, read_document
from tiphys.kubelet.log_rotation import RotationPolicy
from tiphys.kubelet.machine import simulated_machine
from tiphys.kubelet.node import NodeFacts, node_status
from tiphys.kubelet.pulling import PullLimits
from tiphys.kubelet.runtimes.interface import Image, Version
from tiphys.machinery.quoting import parse_duration
from tiphys.machinery.retry import CRASH_LOOP

HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


def parsed(**fields: Any) -> KubeletConfiguration:
    return KubeletConfiguration.parse({**HEAD, **fields})


def problem(**fields: Any) -> str:
    with pytest.raises(BadConfiguration) as caught:
        parsed(**fields)
    return str(caught.value)


def test_what_is_not_said_is_as_upstream_has_it() -> None:
    found = KubeletConfiguration.parse({})
    assert (found.max_pods, found.pod_pids_limit, found.cpu_cfs_quota) == (110, -1, True)
    assert found.eviction_hard == {
        "memory.available": "100Mi",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "15%",
    }
    assert found.image_minimum_gc_age_seconds == 120


def test_hard_thresholds_that_are_given_stand_alone_unless_merged() -> None:
    alone = parsed(evictionHard={"memory.available": "1Gi"})
    assert [threshold.signal for threshold in alone.thresholds] == ["memory.available"]
    merged = parsed(evictionHard={"memory.available": "1Gi"}, mergeDefaultEvictionSettings=True)
    amounts = {threshold.signal: threshold.amount for threshold in merged.thresholds}
    assert len(amounts) == 4
    assert amounts["memory.available"].of(1 << 40) == 1 << 30
    assert parsed(evictionHard={}).thresholds == ()


def test_soft_thresholds_have_their_grace_and_all_their_reclaim() -> None:
    found = parsed(
        evictionHard={},
        evictionSoft={"memory.available": "30%"},
        evictionSoftGracePeriod={"memory.available": "1m30s"},
        evictionMinimumReclaim={"memory.available": "100Mi"},
    ).thresholds
    assert [(threshold.grace_seconds, threshold.is_hard) for threshold in found] == [(90.0, False)]
    assert found[0].minimum_reclaim is not None
    assert found[0].minimum_reclaim.of(0) == 100 << 20


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"maxPod": 5}, 'strict decoding error: unknown field "maxPod"'),
        ({"maxPods": "many"}, 'maxPods must be a whole number, not "many"'),
        ({"maxPods": True}, "maxPods must be a whole number, not true"),
        ({"cpuCFSQuota": "no"}, 'cpuCFSQuota must be true or false, not "no"'),
        ({"imageMinimumGCAge": 5}, 'imageMinimumGCAge must be a duration such as "1m30s", not 5'),
        ({"enforceNodeAllocatable": "pods"}, 'enforceNodeAllocatable must be a list of strings, not "pods"'),
        ({"evictionHard": ["x"]}, 'evictionHard must be a map of strings, not ["x"]'),
        ({"kubeReserved": {"cpu": "x"}}, 'kubeReserved must be a map of quantities, not {"cpu":"x"}'),
        ({"maxPods": -1}, "invalid configuration: maxPods (--max-pods) -1 must not be a negative number"),
        (
            {"imageGCHighThresholdPercent": 101},
            "invalid configuration: imageGCHighThresholdPercent (--image-gc-high-threshold) 101 must be between 0 and 100, "
            "inclusive",
        ),
        (
            {"imageGCLowThresholdPercent": 90},
            "invalid configuration: imageGCLowThresholdPercent (--image-gc-low-threshold) 90 must be less than "
            "imageGCHighThresholdPercent (--image-gc-high-threshold) 85",
        ),
        (
            {"imageMaximumGCAge": "1m"},
            "invalid configuration: imageMaximumGCAge 1m0s must be greater than imageMinimumGCAge 2m0s",
        ),
        (
            {"crashLoopBackOff": {"maxContainerRestartPeriod": "5m1s"}},
            "invalid configuration: CrashLoopBackOff.MaxContainerRestartPeriod (got: 301 seconds) must be set between 1s and 300s",
        ),
        (
            {"crashLoopBackOff": {"maxContainerRestartPeriod": "500ms"}},
            "invalid configuration: CrashLoopBackOff.MaxContainerRestartPeriod (got: 0.5 seconds) must be set between 1s and 300s",
        ),
        (
            {"crashLoopBackOff": {"maxContainerRestartPeriod": 5}},
            "crashLoopBackOff must be an object whose crashLoopBackOff.maxContainerRestartPeriod is a duration "
            'such as "1m30s", not {"maxContainerRestartPeriod":5}',
        ),
        ({"kubeReserved": {"gpu": "1"}}, 'cannot reserve "gpu" resource'),
        ({"systemReserved": {"cpu": "-1"}}, 'resource quantity for "cpu" cannot be negative: -1'),
        ({"evictionHard": {"memory": "1Gi"}}, "unsupported eviction signal memory"),
        (
            {"evictionHard": {"memory.available": "-1"}},
            "eviction threshold memory.available must be positive: -1",
        ),
        (
            {"evictionHard": {"nodefs.available": "101%"}},
            "eviction percentage threshold nodefs.available must be <= 100%: 101%",
        ),
        (
            {"evictionSoft": {"memory.available": "1Gi"}},
            "grace period must be specified for the soft eviction threshold memory.available",
        ),
        ({"cpuManagerPolicy": "dynamic"}, 'unknown policy: "dynamic"'),
        (
            {"cpuManagerPolicy": "static"},
            "[cpumanager] unable to determine reserved CPU resources for static policy",
        ),
        (
            {"cpuManagerPolicyOptions": {"full-pcpus-only": "true"}},
            "new none policy error: None policy: received unsupported options=map[full-pcpus-only:true]",
        ),
        ({"memoryManagerPolicy": "static"}, 'unknown policy: "static"'),
        (
            {"reservedMemory": [{"node": 0}]},
            'reservedMemory must be a list of NUMA nodes and limits, not [{"node":0}]',
        ),
        (
            {"reservedSystemCPUs": "0,x"},
            'unable to parse reserved-cpus list: strconv.Atoi: parsing "x": invalid syntax',
        ),
        (
            {"topologyManagerPolicy": "invalid-policy"},
            'invalid configuration: topologyManagerPolicy (--topology-manager-policy) "invalid-policy" must be one of: '
            '["none" "best-effort" "restricted" "single-numa-node"]',
        ),
        (
            {"topologyManagerScope": "invalid-scope"},
            'invalid configuration: topologyManagerScope (--topology-manager-scope) "invalid-scope" must be one of: '
            '"container", or "pod"',
        ),
        (
            {"topologyManagerPolicyOptions": {"max-allowable-numa-nodes": "4"}},
            'the minimum value of "max-allowable-numa-nodes" should not be less than 8',
        ),
        (
            {"topologyManagerPolicyOptions": {"x": "true"}},
            'unknown Topology Manager Policy option: "x"',
        ),
        ({"readOnlyPort": 10255}, "readOnlyPort: only 0 is supported, not 10255"),
        (
            {"maxPod": 5, "readOnlyPort": 10255},
            '[strict decoding error: unknown field "maxPod", readOnlyPort: only 0 is supported, not 10255]',
        ),
    ],
)
def test_what_is_refused_and_why(fields: dict[str, Any], message: str) -> None:
    assert problem(**fields) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"full-cpus": "true"}, 'unknown CPU Manager Policy option: "full-cpus"'),
        (
            {"align-by-socket": "true"},
            'CPU Manager Policy Alpha-level Options not enabled, but option "align-by-socket" provided',
        ),
        (
            {"full-pcpus-only": "yes"},
            'bad value for option "full-pcpus-only": strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            {"prefer-align-cpus-by-uncorecache": "true", "distribute-cpus-across-numa": "true"},
            "static policy options prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa "
            "can not be used at the same time",
        ),
    ],
)
def test_options_of_the_static_policy_are_known_by_name(options: dict[str, str], message: str) -> None:
    static = {"cpuManagerPolicy": "static", "systemReserved": {"cpu": "1"}}
    assert problem(**static, cpuManagerPolicyOptions=options) == f"new static policy error: {message}"
    known = {"full-pcpus-only": "true", "strict-cpu-reservation": "true", "distribute-cpus-across-numa": "1"}
    assert parsed(**static, cpuManagerPolicyOptions=known).cpu_manager_policy_options == known


def test_cpus_that_are_reserved_by_number_replace_what_is_reserved_by_amount() -> None:
    found = parsed(
        reservedSystemCPUs="0-1,4",
        kubeReserved={"cpu": "500m", "memory": "1Gi"},
        systemReserved={"cpu": "100m", "memory": "2Gi"},
    ).document()
    assert found["reservedSystemCPUs"] == "0-1,4"
    assert found["kubeReserved"] == {"memory": "1Gi"}
    assert found["systemReserved"] == {"cpu": "3", "memory": "2Gi"}


def test_what_the_managers_go_by_is_shown_with_its_defaults_and_nothing_where_nothing_is_said() -> None:
    shown = parsed().document()
    assert (shown["cpuManagerPolicy"], shown["cpuManagerReconcilePeriod"]) == ("none", "10s")
    assert (shown["topologyManagerPolicy"], shown["topologyManagerScope"]) == ("none", "container")
    assert shown["memoryManagerPolicy"] == "None"
    given = [{"numaNode": 0, "limits": {"memory": "1Gi"}}]
    assert parsed(reservedMemory=given).document()["reservedMemory"] == given
    for name in (
        "reservedMemory",
        "cpuManagerPolicyOptions",
        "topologyManagerPolicyOptions",
        "reservedSystemCPUs",
    ):
        assert name not in shown


def test_what_nothing_here_looks_at_may_say_what_is_so_anyway() -> None:
    parsed(cgroupDriver="cgroupfs", authentication={"anonymous": {"enabled": False}}, featureGates={})


def test_crash_loops_wait_for_as_long_as_is_said() -> None:
    assert parsed().crash_loop == CRASH_LOOP
    assert parsed().document()["crashLoopBackOff"] == {"maxContainerRestartPeriod": "5m0s"}
    for period, base in (("1m", 10), ("10s", 10), ("2s", 2)):
        found = parsed(crashLoopBackOff={"maxContainerRestartPeriod": period}).crash_loop
        assert (found.base_seconds, found.cap_seconds) == (base, parse_duration(period))


def test_zero_is_no_wish_where_upstream_cannot_tell_it_from_nothing() -> None:
    found = parsed(maxPods=0, evictionPressureTransitionPeriod="0s", imageMinimumGCAge="0s")
    assert found == KubeletConfiguration()


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="it is Pod of v1, not a KubeletConfiguration of kubelet"):
        KubeletConfiguration.parse({"apiVersion": "v1", "kind": "Pod"})
    with pytest.raises(BadConfiguration, match="it is no object"):
        KubeletConfiguration.parse([])


def test_a_disk_that_is_full_of_other_things_ends_no_pod(tmp_path: Path) -> None:
    """Unless somebody gives a file of his own: then what it leaves out is upstream's."""
    real, hollow = (
        configure(Wanted(name, runtime=runtime, api_port=0), tmp_path)[1]
        for name, runtime in (("real", "containerd"), ("hollow", "simulated"))
    )
    found = KubeletConfiguration.parse(kubelet_configuration(real))
    assert {each.signal for each in found.thresholds if each.amount.of(1 << 30) > 0} == {"memory.available"}
    assert found.image_gc_high_threshold_percent == 100
    assert kubelet_configuration(hollow) == {}


def test_up_reads_the_file_each_time_and_keeps_its_path(tmp_path: Path) -> None:
    file = tmp_path / "kubelet.yaml"
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 5\n")
    wanted = Wanted("c", runtime="simulated", api_port=0, kubelet_config=str(file))
    _, config = configure(wanted, tmp_path)
    assert kubelet_configuration(config)["maxPods"] == 5
    _, again = configure(Wanted("c"), tmp_path)
    assert again.kubelet_config == str(file)
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: -5\n")
    with pytest.raises(ClusterError, match=r"kubelet\.yaml: invalid configuration: maxPods"):
        configure(Wanted("c"), tmp_path)
    file.unlink()
    with pytest.raises(ClusterError, match="cannot read it: No such file"):
        configure(Wanted("c"), tmp_path)
    assert configure(Wanted("c", kubelet_config=""), tmp_path)[1].kubelet_config == ""


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "kubelet.yaml"
    file.write_text("{")
    with pytest.raises(BadConfiguration, match="yaml"):
        read_document(file)


def test_logs_and_access_are_settings() -> None:
    chosen = KubeletConfiguration.parse(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerLogMaxSize": "1Mi",
            "containerLogMaxFiles": 2,
            "containerLogMonitorInterval": "3s",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"cacheTTL": "10s"}},
        }
    )
    assert chosen.rotation == RotationPolicy(1 << 20, 2, 3.0)
    assert (chosen.access.anonymous, chosen.access.token_seconds) == (True, 10.0)
    assert chosen.access.unauthorized_seconds == 30.0
    shown = chosen.document()
    assert shown["containerLogMaxSize"] == "1Mi"
    assert shown["authentication"] == {
        "anonymous": {"enabled": True},
        "webhook": {"cacheTTL": "10s", "enabled": True},
        "x509": {},
    }


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"authentication": {"webhook": {"enabled": False}}}, "authentication.webhook.enabled is true"),
        ({"authentication": {"tea": {}}}, "without"),
        ({"authorization": {"mode": "AlwaysAllow"}}, "authorization.mode"),
        ({"authorization": {"webhook": {"cacheAuthorizedTTL": "soon"}}}, "a duration"),
        ({"authentication": []}, "an object"),
        ({"containerLogMaxSize": "much"}, "a quantity"),
        ({"containerLogMaxFiles": 1}, "must be greater than 1"),
        ({"containerLogMonitorInterval": "1s"}, "greater than or equal to 3s"),
    ],
)
def test_logs_and_access_that_make_no_sense(wrong: dict[str, Any], problem: str) -> None:
    whole = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **wrong}
    with pytest.raises(BadConfiguration, match=problem):
        KubeletConfiguration.parse(whole)


def test_a_configuration_as_shown_can_be_read_again() -> None:
    shown = KubeletConfiguration().document()
    whole = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **shown}
    assert KubeletConfiguration.parse(whole).document() == shown


def test_how_images_come() -> None:
    assert parsed().pull_limits == PullLimits()
    assert parsed(maxParallelImagePulls=3).pull_limits.serialize_image_pulls is False
    assert parsed().document()["serializeImagePulls"] is True
    assert "maxParallelImagePulls" not in parsed().document()
    assert "maxParallelImagePulls 0 must be a positive number" in problem(maxParallelImagePulls=0)
    both = problem(maxParallelImagePulls=2, serializeImagePulls=True)
    assert "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls" in both
    assert 'option "Sometimes" specified' in problem(imagePullCredentialsVerificationPolicy="Sometimes")
    allowed = parsed(
        imagePullCredentialsVerificationPolicy="NeverVerifyAllowlistedImages",
        preloadedImagesVerificationAllowlist=["quay.io/team/*"],
    )
    assert allowed.verification.allowed == ("quay.io/team/*",)


@pytest.mark.parametrize(("limit", "shown"), [(None, 50), (2, 2), (0, 0), (-1, 60)])
def test_how_many_images_a_node_tells_of_the_largest_first(limit: int | None, shown: int) -> None:
    images = [
        Image(f"sha256:{number}", (f"a:{number}", "b", "c", "d", "e"), ("a@sha256:1",), number)
        for number in range(60)
    ]
    settings = parsed(**({} if limit is None else {"nodeStatusMaxImages": limit}))
    facts = NodeFacts(
        "n", ("10.0.0.1",), 10250, simulated_machine(), Version("containerd", "1", "v1"),
        images=images, configuration=settings,
    )  # fmt: skip
    told = node_status({}, facts, datetime(2026, 1, 1, tzinfo=UTC))["images"]
    assert len(told) == shown
    if told:
        assert told[0] == {"names": ["a@sha256:1", "a:59", "b", "c", "d"], "sizeBytes": 59}


def test_fewer_images_than_all_but_none() -> None:
    assert "must be -1 or greater" in problem(nodeStatusMaxImages=-2)


def test_what_upstream_cannot_tell_from_nothing_is_the_default() -> None:
    found = parsed(registryBurst=0, fileCheckFrequency="0s", imagePullCredentialsVerificationPolicy="")
    assert found == KubeletConfiguration()
    assert parsed(registryPullQPS=0).pull_limits.registry_pull_qps == 0
