"""Expressions of webhooks and admission policies: what they may speak of (apiserver `pkg/admission/plugin/cel`).

    object, oldObject   as they are sent, in the version that matched; null where there is none
    request             the AdmissionRequest without the objects and its uid
    namespaceObject     the namespace of the object; null for what is in none
    authorizer          may somebody do something? `authorizer.requestResource` is the check for what is requested
    params              of policies that take parameters

CEL is imported when somebody first compiles: most servers never see an expression.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiphys.machinery.cel import Environment, Program, Type

MATCH_CONDITIONS_BUDGET = 2_500_000
"""What all conditions of one webhook or policy may cost together, for one request."""


@cache
def environment(*, params: bool = False) -> Environment:
    """Of the expressions that are checked before a policy or webhook is asked, and of policies without variables."""
    from tiphys.machinery.cel import DYN, Environment
    from tiphys.machinery.cel.library import KUBERNETES
    from tiphys.machinery.cel.library.authorizer import AUTHORIZER, AUTHORIZER_TYPE, RESOURCE_CHECK_TYPE

    variables = {
        "object": DYN,
        "oldObject": DYN,
        "request": request_type(),
        "namespaceObject": namespace_type(),
        "authorizer": AUTHORIZER_TYPE,
        "authorizer.requestResource": RESOURCE_CHECK_TYPE,
    }
    if params:
        variables["params"] = DYN
    return Environment(variables, libraries=(*KUBERNETES, AUTHORIZER))


@cache
def request_type() -> Type:
    """An AdmissionRequest, but for its uid and the objects."""
    from tiphys.machinery.cel import BOOL, DYN, STRING, list_of, map_of, object_type

    texts = list_of(STRING)
    kind = object_type("kubernetes.GroupVersionKind", {"group": STRING, "version": STRING, "kind": STRING})
    resource = object_type(
        "kubernetes.GroupVersionResource", {"group": STRING, "version": STRING, "resource": STRING}
    )
    user = object_type(
        "kubernetes.UserInfo",
        {"username": STRING, "uid": STRING, "groups": texts, "extra": map_of(STRING, texts)},
    )
    return object_type(
        "kubernetes.AdmissionRequest",
        {
            "kind": kind,
            "resource": resource,
            "subResource": STRING,
            "requestKind": kind,
            "requestResource": resource,
            "requestSubResource": STRING,
            "name": STRING,
            "namespace": STRING,
            "operation": STRING,
            "userInfo": user,
            "dryRun": BOOL,
            "options": DYN,
        },
        escapes=False,
    )


@cache
def namespace_type() -> Type:
    """A Namespace, but for who owns it and its fields."""
    from tiphys.machinery.cel import INT, STRING, TIMESTAMP, list_of, map_of, object_type

    texts, words = list_of(STRING), map_of(STRING, STRING)
    condition = object_type(
        "kubernetes.NamespaceCondition",
        {
            "status": STRING,
            "type": STRING,
            "lastTransitionTime": TIMESTAMP,
            "message": STRING,
            "reason": STRING,
        },
    )
    metadata = object_type(
        "kubernetes.NamespaceMetadata",
        {
            "name": STRING,
            "generateName": STRING,
            "namespace": STRING,
            "labels": words,
            "annotations": words,
            "UID": STRING,
            "creationTimestamp": TIMESTAMP,
            "deletionGracePeriodSeconds": INT,
            "deletionTimestamp": TIMESTAMP,
            "generation": INT,
            "resourceVersion": STRING,
            "finalizers": texts,
        },
        escapes=False,
    )
    status = object_type("kubernetes.NamespaceStatus", {"conditions": list_of(condition), "phase": STRING})
    return object_type(
        "kubernetes.Namespace",
        {
            "metadata": metadata,
            "spec": object_type("kubernetes.NamespaceSpec", {"finalizers": texts}),
            "status": status,
        },
    )


def condition_problem(text: str, *, params: bool = False) -> str:
    """Why an expression is no condition, as upstream says it; "": it is one."""
    from tiphys.machinery.cel import CelError

    try:
        compile_condition(text, params=params)
    except CelError as error:
        return f"compilation failed: {error}"
    except TypeError as error:
        return str(error)
    return ""


def compile_condition(text: str, *, params: bool = False) -> Program:
    """An expression that is true or false. CelError: it does not compile. TypeError: it is something else."""
    from tiphys.machinery.cel import BOOL

    program = environment(params=params).compile(text)
    if program.type is not BOOL:
        raise TypeError(f"must evaluate to bool but got {program.type}")
    return program
