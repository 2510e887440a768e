"""Jobs and cron jobs: what is filled in, what is refused, and what an update may change."""

import pytest

from tiphys.api.batch import advice, validation

JOB, CRON_JOB = "batch/v1 Job", "batch/v1 CronJob"
CONTAINERS = [{"name": "main", "image": "busybox"}]


def template(**spec):
    return {"spec": {"containers": CONTAINERS, "restartPolicy": "Never", **spec}}


def job(**spec):
    return {"spec": {"template": template(), **spec}}


TIME = "2026-11-22T10:00:00Z"
GENERATED = {
    "batch.kubernetes.io/controller-uid": "u-1",
    "batch.kubernetes.io/job-name": "x",
    "controller-uid": "u-1",
    "job-name": "x",
}


def test_what_a_job_is_given(written):
    obj = written(JOB, job())
    spec = obj["spec"]
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 1, 6)
    assert spec["completionMode"] == "NonIndexed"
    assert spec["suspend"] is False
    assert spec["manualSelector"] is False
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert spec["template"]["metadata"]["labels"] == GENERATED
    assert obj["metadata"]["labels"] == GENERATED
    assert obj["status"] == {}


def test_a_work_queue_has_no_completions(written):
    assert "completions" not in written(JOB, job(parallelism=3))["spec"]
    assert written(JOB, job(completions=3))["spec"]["parallelism"] == 1


def test_limits_by_index_take_the_place_of_the_limit(written):
    spec = written(JOB, job(completionMode="Indexed", completions=2, backoffLimitPerIndex=1))["spec"]
    assert spec["backoffLimit"] == 2**31 - 1


def test_a_failure_policy_waits_for_the_end_of_pods(written):
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    spec = written(JOB, job(podFailurePolicy=policy))["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"] == "True"


def test_labels_of_the_job_stay_its_own(written):
    assert written(JOB, job(), labels={"mine": "1"})["metadata"]["labels"] == {"mine": "1"}


def test_a_manual_selector_is_left_alone(written, refusals):
    labels = {"app": "web"}
    pods = {**template(), "metadata": {"labels": labels}}
    fields = {"spec": {"manualSelector": True, "selector": {"matchLabels": labels}, "template": pods}}
    assert written(JOB, fields)["spec"]["template"]["metadata"]["labels"] == labels
    assert refusals(JOB, fields) == []
    fields["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert refusals(JOB, fields) == [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    ]


def labelled(**labels):
    return {"spec": {"template": {**template(), "metadata": {"labels": labels}}}}


EXIT = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (job(), []),
        (job(parallelism=-1), ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        (job(backoffLimit=-1), ["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"spec": {"template": template(restartPolicy="Always")}},
            ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
        ),
        (
            {"spec": {"template": template(restartPolicy="Maybe")}},
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"',
                'spec.template.spec.restartPolicy: Unsupported value: "Maybe": supported values: "OnFailure", "Never"',
            ],
        ),
        (
            job(completionMode="Indexed", parallelism=2),
            ["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            job(completionMode="Sorted"),
            [
                'spec.completionMode: Unsupported value: "Sorted": supported values: "NonIndexed", "Indexed"',
            ],
        ),
        (
            job(backoffLimitPerIndex=1),
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            job(completionMode="Indexed", completions=2, maxFailedIndexes=3, backoffLimitPerIndex=1),
            ["spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions"],
        ),
        (
            job(completionMode="Indexed", completions=2, maxFailedIndexes=1),
            ["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"],
        ),
        (
            job(successPolicy={"rules": [{"succeededCount": 1}]}),
            [
                'spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode'
            ],
        ),
        (
            job(
                completionMode="Indexed", completions=2, successPolicy={"rules": [{}, {"succeededCount": 3}]}
            ),
            [
                "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
                "spec.successPolicy.rules[1].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of specified completions)",
            ],
        ),
        (job(podFailurePolicy={"rules": [EXIT]}), []),
        (
            job(podFailurePolicy={"rules": [{**EXIT, "action": "Boom"}]}),
            [
                'spec.podFailurePolicy.rules[0].action: Unsupported value: "Boom": supported values: "Count", "FailIndex", "FailJob", "Ignore"'
            ],
        ),
        (
            job(podFailurePolicy={"rules": [{**EXIT, "action": "FailIndex"}]}),
            [
                'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set'
            ],
        ),
        (
            job(podFailurePolicy={"rules": [{"action": "Count"}]}),
            [
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"
            ],
        ),
        (
            job(
                podFailurePolicy={
                    "rules": [
                        {
                            "action": "Count",
                            "onExitCodes": {"operator": "In", "values": [2, 0, 0], "containerName": "y"},
                        }
                    ]
                }
            ),
            [
                'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "y": must be one of the container or initContainer names in the pod template',
                "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 0",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,0]: must be ordered",
            ],
        ),
        (
            job(podFailurePolicy={"rules": [EXIT]}, podReplacementPolicy="TerminatingOrFailed"),
            [
                'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"'
            ],
        ),
        (job(managedBy="example.com/me"), []),
        (
            job(managedBy="me"),
            [
                'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
            ],
        ),
    ],
)
def test_jobs(refusals, fields, messages):
    assert refusals(JOB, fields) == messages


def test_labels_that_are_generated_may_not_be_others(refusals):
    found = refusals(JOB, labelled(**{"job-name": "y"}))
    assert len(found) == 1
    assert found[0].startswith("spec.template.metadata.labels[job-name]: Invalid value:")
    assert found[0].endswith("must be 'x'")


def test_the_last_index_must_make_a_hostname(refusals):
    name = "n" * 62
    found = refusals(JOB, job(completionMode="Indexed", completions=2), name=name)
    wrong = f'metadata.name: Invalid value: "{name}": will not able to create pod with invalid DNS label: {name}-1'
    assert wrong in found


def test_what_an_update_may_change(written):
    old = written(JOB, job())
    for field, value in (("parallelism", 5), ("suspend", True), ("backoffLimit", 1)):
        new = {**old, "spec": {**old["spec"], field: value}}
        assert validation.job(new, old) == []
    for field, value in (("completions", 2), ("completionMode", None), ("managedBy", "a.b/c")):
        new = {**old, "spec": {**old["spec"], field: value}}
        assert [error.field for error in validation.job(new, old)] == [f"spec.{field}"]


def test_indexed_jobs_grow_in_tandem(written):
    old = written(JOB, job(completionMode="Indexed", completions=2, parallelism=2))
    assert validation.job({**old, "spec": {**old["spec"], "completions": 3, "parallelism": 3}}, old) == []
    found = validation.job({**old, "spec": {**old["spec"], "completions": 3}}, old)
    assert [str(error) for error in found] == [
        "spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"
    ]


@pytest.mark.parametrize(
    ("suspend", "status", "allowed"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"startTime": TIME}, False),
        (True, {"startTime": TIME, "conditions": [{"type": "Suspended", "status": "True"}]}, True),
        (
            True,
            {"startTime": TIME, "active": 1, "conditions": [{"type": "Suspended", "status": "True"}]},
            False,
        ),
    ],
)
def test_a_queue_may_place_what_does_not_run(written, suspend, status, allowed):
    old = {**written(JOB, job(suspend=suspend)), "status": status}
    pods = old["spec"]["template"]
    placed = {**pods, "spec": {**pods["spec"], "nodeSelector": {"zone": "a"}}}
    found = validation.job({**old, "spec": {**old["spec"], "template": placed}}, old)
    assert (found == []) == allowed
    (container,) = pods["spec"]["containers"]
    sized = {**container, "resources": {"requests": {"cpu": "2"}}}
    larger = {**pods, "spec": {**pods["spec"], "containers": [sized]}}
    assert (validation.job({**old, "spec": {**old["spec"], "template": larger}}, old) == []) == allowed
    other = {**pods, "spec": {**pods["spec"], "hostNetwork": True}}
    found = validation.job({**old, "spec": {**old["spec"], "template": other}}, old)
    assert [error.field for error in found] == ["spec.template"]


def cron(schedule="* * * * *", **spec):
    return {"spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": template()}}, **spec}}


def test_what_a_cron_job_is_given(written):
    spec = written(CRON_JOB, cron())["spec"]
    assert spec["concurrencyPolicy"] == "Allow"
    assert spec["suspend"] is False
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert "completions" not in spec["jobTemplate"]["spec"]


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (cron(), []),
        (cron(timeZone="Etc/UTC"), []),
        (cron(""), ["spec.schedule: Required value"]),
        (
            cron("* * *"),
            ['spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]'],
        ),
        (
            cron("TZ=UTC 0 * * * *"),
            [
                'spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead'
            ],
        ),
        (
            cron(timeZone="Mars/Base"),
            ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base'],
        ),
        (
            cron(timeZone="local"),
            [
                'spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones'
            ],
        ),
        (
            cron(concurrencyPolicy="Perhaps"),
            [
                'spec.concurrencyPolicy: Unsupported value: "Perhaps": supported values: "Allow", "Forbid", "Replace"'
            ],
        ),
        (
            cron(startingDeadlineSeconds=-1),
            ["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            cron(jobTemplate={"spec": {"template": template(), "manualSelector": True}}),
            [
                'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"'
            ],
        ),
    ],
)
def test_cron_jobs(refusals, fields, messages):
    assert refusals(CRON_JOB, fields) == messages


def test_names_of_cron_jobs_leave_room_for_those_of_jobs(refusals):
    assert refusals(CRON_JOB, cron(), name="n" * 52) == []
    assert refusals(CRON_JOB, cron(), name="n" * 53) == [
        f'metadata.name: Invalid value: "{"n" * 53}": must be no more than 52 characters'
    ]


def test_a_zone_in_a_schedule_that_was_there_before_is_warned_of():
    old = {"metadata": {"name": "x"}, **cron("TZ=UTC 0 * * * *")}
    (warning,) = advice.cron_job(old, old)
    assert warning.startswith("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see ")
    assert advice.cron_job(old, None) == []


def test_a_zone_that_nobody_knows_any_more_may_stay(written):
    old = written(CRON_JOB, cron(timeZone="Gone/Away"))
    assert validation.cron_job(old, old) == []
    assert [error.field for error in validation.cron_job(old, None)] == ["spec.timeZone"]
