"""What is refused of pods, in upstream's words."""

import copy

import pytest

from tiphys.api.core.defaults.pods import pod as default_pod
from tiphys.api.core.defaults.pods import pod_template as default_template
from tiphys.api.core.validation import pods
from tiphys.api.core.validation.pod_specs import pod_template
from tiphys.machinery.errors import Path


def pod(*, annotations=None, **spec):
    obj = {
        "metadata": {
            "name": "web",
            "namespace": "default",
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {"containers": [{"name": "web", "image": "nginx:1"}], **spec},
    }
    default_pod(obj)
    return obj


def with_container(**fields):
    return pod(containers=[{"name": "web", "image": "nginx:1", **fields}])


def faults(obj, old=None):
    return [str(error) for error in pods.pod(obj, old)]


def test_good_pods():
    assert faults(pod()) == []
    assert (
        faults(pod(initContainers=[{"name": "first", "image": "busybox", "restartPolicy": "Always"}])) == []
    )


C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(containers=[]), ["spec.containers: Required value"]),
        (pod(containers=[{"name": "a"}]), [f"{C}.image: Required value"]),
        (pod(containers=[{"image": "a:1"}]), [f"{C}.name: Required value"]),
        (
            pod(containers=[{"name": "a", "image": "a:1"}, {"name": "a", "image": "a:1"}]),
            ['spec.containers[1].name: Duplicate value: "a"'],
        ),
        (
            with_container(imagePullPolicy="Sometimes"),
            [
                f'{C}.imagePullPolicy: Unsupported value: "Sometimes": '
                'supported values: "Always", "IfNotPresent", "Never"'
            ],
        ),
        (
            pod(containers=[{"name": "a", "image": " a:1"}]),
            [f'{C}.image: Invalid value: " a:1": must not have leading or trailing whitespace'],
        ),
        (
            with_container(ports=[{"containerPort": 0}]),
            [f"{C}.ports[0].containerPort: Required value"],
        ),
        (
            with_container(ports=[{"containerPort": 70000}]),
            [f"{C}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            with_container(
                ports=[{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]
            ),
            [f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"'],
        ),
        (
            with_container(env=[{"name": "A", "valueFrom": {}}]),
            [
                f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
                "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            ],
        ),
        (
            with_container(
                env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
            ),
            [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        (
            with_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]),
            [
                f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nope": '
                "error converting fieldPath: field label not supported: spec.nope"
            ],
        ),
        (
            with_container(env=[{"name": "A=B"}]),
            [
                f'{C}.env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of '
                "printable ASCII characters other than '='"
            ],
        ),
        (
            with_container(envFrom=[{}]),
            [f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'],
        ),
        (
            with_container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            [f'{C}.volumeMounts[0].name: Not found: "v"'],
        ),
        (
            with_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}),
            [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 500m'],
        ),
        (
            with_container(resources={"requests": {"memory": "-1"}}),
            [f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0'],
        ),
        (
            with_container(resources={"requests": {"disk": "1"}}),
            [
                f'{C}.resources.requests[disk]: Invalid value: "disk": must be a standard resource type or fully qualified',
                f'{C}.resources.requests[disk]: Invalid value: "disk": must be a standard resource for containers',
            ],
        ),
        (
            with_container(resources={"requests": {"example.com/gpu": "1"}}),
            [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
        ),
        (
            with_container(resources={"limits": {"example.com/gpu": "500m"}}),
            [
                f'{C}.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
                f'{C}.resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer',
            ],
        ),
        (
            with_container(resources={"limits": {"hugepages-2Mi": "2Mi"}}),
            [f"{C}.resources: Forbidden: HugePages require cpu or memory"],
        ),
        (
            with_container(livenessProbe={}),
            [f"{C}.livenessProbe: Required value: must specify a handler type"],
        ),
        (
            with_container(livenessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
            [f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            with_container(livenessProbe={"exec": {"command": ["a"]}, "successThreshold": 2}),
            [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            with_container(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
            [
                f"{C}.lifecycle.preStop.sleep: Invalid value: 31: "
                "must be non-negative and less than terminationGracePeriodSeconds (30)"
            ],
        ),
        (
            with_container(securityContext={"runAsUser": -1}),
            [
                f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive"
            ],
        ),
        (
            with_container(securityContext={"seccompProfile": {"type": "Localhost"}}),
            [
                f"{C}.securityContext.seccompProfile.localhostProfile: Required value: "
                "must be set when seccomp type is Localhost"
            ],
        ),
        (
            pod(restartPolicy="Sometimes"),
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": '
                'supported values: "Always", "OnFailure", "Never"'
            ],
        ),
        (
            pod(dnsPolicy="None"),
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            pod(activeDeadlineSeconds=0),
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            pod(
                hostNetwork=True,
                containers=[{"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "hostPort": 81}]}],
            ),
            [
                f"{C}.ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"
            ],
        ),
        (
            pod(hostAliases=[{"ip": "nope", "hostnames": ["a"]}]),
            [
                'spec.hostAliases[0].ip: Invalid value: "nope": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
            ],
        ),
        (
            pod(tolerations=[{"operator": "Equal"}]),
            [
                'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
                'which means "match all values and all keys"'
            ],
        ),
        (
            pod(
                tolerations=[
                    {"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}
                ]
            ),
            [
                'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
                "effect must be 'NoExecute' when `tolerationSeconds` is set"
            ],
        ),
        (
            pod(
                topologySpreadConstraints=[
                    {"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
                ]
            ),
            ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
        ),
        (
            pod(readinessGates=[{"conditionType": "a/b/c"}]),
            None,
        ),
        (
            pod(schedulingGates=[{"name": "a"}], nodeName="n"),
            ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
        ),
        (
            pod(ephemeralContainers=[{"name": "debug", "image": "busybox"}]),
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            pod(
                initContainers=[
                    {"name": "web", "image": "a:1", "livenessProbe": {"exec": {"command": ["a"]}}}
                ]
            ),
            [
                'spec.initContainers[0].name: Duplicate value: "web"',
                "spec.initContainers[0].livenessProbe: Forbidden: "
                "may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            pod(overhead={"cpu": "-1"}),
            ['spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
        ),
        (
            pod(annotations={"kubernetes.io/config.mirror": "x"}),
            [
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": '
                "must set spec.nodeName if mirror pod annotation is set"
            ],
        ),
        (
            pod(os={"name": "windows"}, hostPID=True),
            ["spec.hostPID: Forbidden: cannot be set for a windows pod"],
        ),
    ],
)
def test_bad_pods(obj, expected):
    found = faults(obj)
    if expected is None:
        assert len(found) == 1
    else:
        assert found == expected


V = "spec.volumes[0]"


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({"name": "v", "unknown": {}}, [f"{V}: Required value: must specify a volume type"]),
        (
            {"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}},
            [f"{V}.hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            {"name": "v", "hostPath": {"path": "/a/../b"}},
            [f"{V}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
        ),
        ({"name": "v", "secret": {}}, [f"{V}.secret.secretName: Required value"]),
        (
            {"name": "v", "configMap": {"name": "c", "defaultMode": 0o1000}},
            [
                f"{V}.configMap.defaultMode: Invalid value: 512: "
                "must be a number between 0 and 0777 (octal), both inclusive"
            ],
        ),
        (
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "..x"}]}},
            [f"{V}.configMap.items[0].path: Invalid value: \"..x\": must not start with '..'"],
        ),
        (
            {"name": "v", "persistentVolumeClaim": {}},
            [f"{V}.persistentVolumeClaim.claimName: Required value"],
        ),
        (
            {"name": "v", "nfs": {"server": "s", "path": "x"}},
            [f'{V}.nfs.path: Invalid value: "x": must be an absolute path'],
        ),
        (
            {"name": "v", "projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}},
            [f"{V}.projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"],
        ),
        (
            {
                "name": "v",
                "projected": {
                    "sources": [
                        {"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                        {"secret": {"name": "b", "items": [{"key": "k", "path": "p"}]}},
                    ]
                },
            },
            [f'{V}.projected: Invalid value: "b": conflicting duplicate paths'],
        ),
        (
            {"name": "v", "downwardAPI": {"items": [{"path": "p"}]}},
            [f"{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
        ),
        ({"name": "v", "ephemeral": {}}, [f"{V}.ephemeral.volumeClaimTemplate: Required value"]),
    ],
)
def test_bad_volumes(volume, expected):
    assert faults(pod(volumes=[volume])) == expected


def test_volumes_are_told_apart_by_name():
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]
    assert faults(pod(volumes=volumes)) == ['spec.volumes[1].name: Duplicate value: "v"']


def test_a_token_needs_an_account():
    volume = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    assert faults(pod(volumes=[volume], serviceAccountName="robot")) == []
    assert faults(pod(volumes=[volume])) == [
        f"{V}.projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"
    ]


def test_pod_level_resources_cover_the_containers():
    container = {"name": "a", "image": "a:1", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}}
    obj = pod(containers=[container], resources={"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
    assert faults(obj) == [
        'spec.resources.requests[cpu]: Invalid value: "1": '
        "must be greater than or equal to aggregate container requests of 2",
        'spec.resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2',
    ]


# Update


def changed(old, **spec):
    new = copy.deepcopy(old)
    new["spec"].update(spec)
    return new


def test_the_image_may_change():
    old = pod()
    new = changed(old, containers=[{**old["spec"]["containers"][0], "image": "nginx:2"}])
    assert faults(new, old) == []


def test_nothing_else_may_change():
    old = pod()
    found = faults(changed(old, nodeName="elsewhere"), old)
    assert found == [
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        "`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
        '+ nodeName: "elsewhere"'
    ]


def test_containers_do_not_come_and_go():
    old = pod()
    new = changed(old, containers=old["spec"]["containers"] * 2)
    assert "spec.containers: Forbidden: pod updates may not add or remove containers" in faults(new, old)


def test_a_deadline_may_be_shortened_only():
    old = pod(activeDeadlineSeconds=100)
    assert faults(changed(old, activeDeadlineSeconds=50), old) == []
    assert faults(changed(old, activeDeadlineSeconds=200), old) == [
        "spec.activeDeadlineSeconds: Invalid value: 200: must be less than or equal to previous value"
    ]
    without = copy.deepcopy(old)
    del without["spec"]["activeDeadlineSeconds"]
    assert "must not update from a positive integer to nil value" in faults(without, old)[0]


def test_tolerations_may_be_added_only():
    one, two = {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}
    old = pod(tolerations=[one])
    assert faults(changed(old, tolerations=[one, two]), old) == []
    assert faults(changed(old, tolerations=[two]), old) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_a_negative_grace_period_may_become_one():
    old = pod(terminationGracePeriodSeconds=-5)
    assert faults(changed(old, terminationGracePeriodSeconds=1), old) == []
    assert faults(changed(old, terminationGracePeriodSeconds=2), old)


def test_gates_may_be_taken_away_only():
    old = pod(schedulingGates=[{"name": "a"}])
    without = copy.deepcopy(old)
    del without["spec"]["schedulingGates"]
    assert faults(without, old) == []
    assert faults(changed(old, schedulingGates=[{"name": "a"}, {"name": "b"}]), old) == [
        "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"
    ]


def test_a_gated_pod_may_be_narrowed():
    old = pod(schedulingGates=[{"name": "a"}], nodeSelector={"zone": "1"})
    assert faults(changed(old, nodeSelector={"zone": "1", "disk": "ssd"}), old) == []
    assert "only additions to spec.nodeSelector" in faults(changed(old, nodeSelector={"zone": "2"}), old)[0]
    open_pod = pod(nodeSelector={"zone": "1"})
    assert faults(changed(open_pod, nodeSelector={"zone": "1", "disk": "ssd"}), open_pod)


def test_a_gated_pod_may_gain_node_affinity():
    expression = {"key": "zone", "operator": "In", "values": ["1"]}
    terms = {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [expression]}]
        }
    }
    old = pod(schedulingGates=[{"name": "a"}])
    assert faults(changed(old, affinity={"nodeAffinity": terms}), old) == []
    narrowed = changed(old, affinity={"nodeAffinity": terms})
    wider = copy.deepcopy(narrowed)
    wider["spec"]["affinity"]["nodeAffinity"] = {}
    assert "no additions/deletions to non-empty NodeSelectorTerms" in faults(wider, narrowed)[0]


def test_labels_change_without_a_look_at_the_spec():
    old = pod()
    old["spec"]["containers"] = []  # would not be accepted today
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert faults(new, old) == []


# Other paths


def test_ephemeral_containers_may_be_added_only():
    old = pod()
    debug = {"name": "debug", "image": "busybox:1"}
    new = changed(old, ephemeralContainers=[debug])
    default_pod(new)
    assert pods.ephemeral_containers(new, old) == []
    assert "may not be removed" in str(pods.ephemeral_containers(old, new)[0])
    other = copy.deepcopy(new)
    other["spec"]["ephemeralContainers"][0]["image"] = "busybox:2"
    assert "may not be changed" in str(pods.ephemeral_containers(other, new)[0])


def test_ephemeral_containers_are_modest():
    debug = {"name": "web", "image": "b:1", "targetContainerName": "nope", "ports": [{"containerPort": 1}]}
    new = pod(ephemeralContainers=[debug])
    assert [str(error) for error in pods.ephemeral_containers(new, pod())] == [
        'spec.ephemeralContainers[0].name: Duplicate value: "web"',
        'spec.ephemeralContainers[0].targetContainerName: Not found: "nope"',
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
    ]


def test_a_resize_changes_cpu_and_memory_only():
    old = with_container(resources={"requests": {"cpu": "1"}})
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    assert pods.resize(new, old) == []
    new["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}
    assert pods.resize(new, old) == [], "limits may be added"
    empty, burstable = with_container(resources={}), {"requests": {"cpu": "1"}}
    for each in (empty, new):
        each["spec"]["containers"].append({**each["spec"]["containers"][0], "name": "other"})
    empty["spec"]["containers"][1]["resources"] = burstable
    new = copy.deepcopy(empty)
    new["spec"]["containers"][0]["resources"] = burstable
    assert pods.resize(new, empty) == [], "requests may be added, too"
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["resources"] = {}
    assert "resource requests cannot be removed" in str(pods.resize(new, old))
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] = "1Gi"
    assert [str(error) for error in pods.resize(new, old)] == [
        "spec: Forbidden: only cpu and memory resources are mutable"
    ]


def test_what_is_done_stays_done():
    def job(state):
        obj = pod(restartPolicy="Never")
        obj["status"] = {"containerStatuses": [{"name": "web", "state": state}]}
        return obj

    done, running = job({"terminated": {"exitCode": 0}}), job({"running": {}})
    assert pods.pod_status(done, running) == []
    assert [str(error) for error in pods.pod_status(running, done)] == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]


def test_all_containers_may_begin_again_where_a_rule_of_one_says_so():
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    obj = pod(restartPolicy="Never")
    obj["spec"]["containers"].append(
        {**obj["spec"]["containers"][0], "name": "watcher", "restartPolicyRules": [rule]}
    )

    def with_state(state):
        return {**obj, "status": {"containerStatuses": [{"name": "web", "state": state}]}}

    assert pods.pod_status(with_state({"running": {}}), with_state({"terminated": {"exitCode": 0}})) == []


def test_addresses_of_a_pod():
    obj = pod()
    obj["status"] = {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}
    assert "may specify no more than one IP for each IP family" in str(pods.pod_status(obj, pod())[0])
    obj["status"] = {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}
    assert pods.pod_status(obj, pod()) == []


def test_the_qos_class_is_for_life():
    old, new = pod(), pod()
    old["status"], new["status"] = {"qosClass": "BestEffort"}, {"qosClass": "Guaranteed"}
    assert [str(error) for error in pods.pod_status(new, old)] == [
        'status.qosClass: Invalid value: "Guaranteed": field is immutable'
    ]


# Templates


def test_a_template_leaves_ports_and_claims_for_later():
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {
            "hostNetwork": True,
            "containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}],
        },
    }
    default_template(template)
    assert pod_template(template, Path("spec", "template")) == []
    template["spec"]["ephemeralContainers"] = [{"name": "d", "image": "d:1"}]
    default_template(template)
    assert [str(error) for error in pod_template(template, Path("spec", "template"))] == [
        "spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"
    ]
