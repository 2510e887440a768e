"""Every Status in upstream's words, codes and details."""

import pytest

from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError, Path, StatusError
from tiphys.machinery.gvk import GroupKind, GroupResource

PODS = GroupResource("", "pods")
DEPLOYMENTS = GroupResource("apps", "deployments")
POD = GroupKind("", "Pod")


def test_a_status_is_complete() -> None:
    assert errors.not_found(DEPLOYMENTS, "web").status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (errors.not_found(PODS, "x"), 404, "NotFound", 'pods "x" not found'),
        (errors.already_exists(PODS, "x"), 409, "AlreadyExists", 'pods "x" already exists'),
        (
            errors.generate_name_conflict(PODS, "x-abcde"),
            409,
            "AlreadyExists",
            'pods "x-abcde" already exists, the server was not able to generate a unique name for the object',
        ),
        (
            errors.conflict(PODS, "x"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "x": the object has been modified; '
            "please apply your changes to the latest version and try again",
        ),
        (errors.bad_request("no"), 400, "BadRequest", "no"),
        (errors.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (errors.forbidden(PODS, "x", "quota"), 403, "Forbidden", 'pods "x" is forbidden: quota'),
        (errors.forbidden(PODS, "", "quota"), 403, "Forbidden", "pods is forbidden: quota"),
        (
            errors.forbidden_resource("jane", "list", PODS, namespace="default"),
            403,
            "Forbidden",
            'pods is forbidden: User "jane" cannot list resource "pods" in API group "" '
            'in the namespace "default"',
        ),
        (
            errors.forbidden_resource(
                "jane", "get", DEPLOYMENTS, subresource="scale", name="web", reason="RBAC"
            ),
            403,
            "Forbidden",
            'deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments/scale" '
            'in API group "apps" at the cluster scope: RBAC',
        ),
        (
            errors.forbidden_path("system:anonymous", "get", "/metrics"),
            403,
            "Forbidden",
            'forbidden: User "system:anonymous" cannot get path "/metrics"',
        ),
        (
            errors.method_not_supported(PODS, "patch"),
            405,
            "MethodNotAllowed",
            'patch is not supported on resources of kind "pods"',
        ),
        (
            errors.not_acceptable(["application/json", "application/yaml"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        ),
        (
            errors.unsupported_media_type(["application/json"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - "
            "accepted media types include: application/json",
        ),
        (errors.gone("x"), 410, "Gone", "x"),
        (
            errors.expired("too old resource version: 1 (5)"),
            410,
            "Expired",
            "too old resource version: 1 (5)",
        ),
        (
            errors.request_entity_too_large("limit is 3145728"),
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        ),
        (errors.timeout("slow"), 504, "Timeout", "Timeout: slow"),
        (
            errors.server_timeout(PODS, "list"),
            500,
            "ServerTimeout",
            "The list operation against pods could not be completed at this time, please try again.",
        ),
        (errors.too_many_requests("later"), 429, "TooManyRequests", "later"),
        (errors.internal_error("boom"), 500, "InternalError", "Internal error occurred: boom"),
        (errors.service_unavailable("starting"), 503, "ServiceUnavailable", "starting"),
        (errors.apply_conflict([], "conflict with x"), 409, "Conflict", "conflict with x"),
    ],
)
def test_constructors(error: StatusError, code: int, reason: str, message: str) -> None:
    assert (error.code, error.reason, error.message, str(error)) == (code, reason, message, message)


def test_one_invalid_field() -> None:
    error = errors.invalid(POD, "x", [FieldError.required(Path("spec", "foo"), "say it")])
    assert error.code == 422
    assert error.message == 'Pod "x" is invalid: spec.foo: Required value: say it'
    assert error.details == {
        "name": "x",
        "kind": "Pod",
        "causes": [
            {"reason": "FieldValueRequired", "message": "Required value: say it", "field": "spec.foo"},
        ],
    }


def test_several_invalid_fields() -> None:
    faults = [FieldError.required(Path("a")), FieldError.forbidden(Path("b"), "no")]
    error = errors.invalid(GroupKind("apps", "Deployment"), "x", faults)
    assert error.message == 'Deployment.apps "x" is invalid: [a: Required value, b: Forbidden: no]'
    assert [cause["field"] for cause in error.causes] == ["a", "b"]


def test_empty_details_stay_but_none_are_left_out() -> None:
    assert errors.forbidden_path("jane", "get", "/").status()["details"] == {}
    assert "details" not in errors.bad_request("x").status()


def test_a_too_large_resource_version_asks_to_come_back() -> None:
    error = errors.resource_version_too_large(5, 3)
    assert error.message == "Timeout: Too large resource version: 5, current: 3"
    assert error.details == {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    assert error.headers == {"Retry-After": "1"}
    assert errors.retry_after_seconds(error) == 1


@pytest.mark.parametrize(
    ("code", "method", "reason", "message"),
    [
        (404, "GET", "NotFound", "the server could not find the requested resource (get pods x)"),
        (409, "POST", "AlreadyExists", "the server reported a conflict (post pods x)"),
        (409, "PUT", "Conflict", "the server reported a conflict (put pods x)"),
        (403, "GET", "Forbidden", "the text (get pods x)"),
        (
            502,
            "GET",
            "InternalError",
            'an error on the server ("the text") has prevented the request from succeeding (get pods x)',
        ),
        (
            418,
            "GET",
            "",
            "the server responded with the status code 418 but did not return more information (get pods x)",
        ),
    ],
)
def test_answers_that_are_no_status(code: int, method: str, reason: str, message: str) -> None:
    error = errors.generic_server_response(code, method, PODS, "x", "the text")
    assert (error.code, error.reason, error.message) == (code, reason, message)


def test_an_unexpected_answer_keeps_its_text_as_a_cause() -> None:
    error = errors.generic_server_response(500, "GET", server_message="<html>", unexpected=True)
    assert error.causes == [{"reason": "UnexpectedServerResponse", "message": "<html>"}]


def test_a_status_survives_the_wire() -> None:
    error = errors.too_many_requests("later", retry_after_seconds=7)
    back = StatusError.from_status(error.status())
    assert back.status() == error.status()
    assert back.headers == {"Retry-After": "7"}


def test_predicates_go_by_the_reason_first() -> None:
    assert errors.is_not_found(errors.not_found(PODS, "x"))
    assert errors.is_not_found(StatusError(404, "", "a proxy's"))
    assert not errors.is_conflict(errors.already_exists(PODS, "x"))
    assert errors.is_already_exists(errors.already_exists(PODS, "x"))
    assert errors.is_expired(errors.gone("x"))
    assert errors.is_expired(errors.expired("x"))
    assert errors.is_too_many_requests(StatusError(429, "Odd", "x"))
    assert not errors.is_not_found(ValueError("x"))
    assert not errors.is_not_found(None)
    assert errors.retry_after_seconds(errors.bad_request("x")) is None
