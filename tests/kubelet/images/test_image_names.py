from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.kubelet.images.names import InvalidName, normalized, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/user/app:v1", "docker.io/user/app:v1"),
        ("quay.io/org/app", "quay.io/org/app:latest"),
        ("localhost/pause:1", "localhost/pause:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("HOST/app", "HOST/app:latest"),
        ("registry.k8s.io/pause:3.10@" + DIGEST, "registry.k8s.io/pause@" + DIGEST),
        ("busybox@" + DIGEST, "docker.io/library/busybox@" + DIGEST),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest"),
    ],
)
def test_a_short_name_stands_for_a_whole_one(short: str, whole: str) -> None:
    assert normalized(short) == whole
    assert normalized(whole) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "busybox:",
        "busybox:a b",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a@sha256:12",
        "a@",
        "a:b:c",
        "a" * 256,
        "x.y/Ab",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match=r"invalid reference format|must not be more than"):
        parse(text)


def test_upper_case_has_a_message_of_its_own() -> None:
    with pytest.raises(InvalidName, match=r"repository name \(library/Busybox\) must be lowercase"):
        parse("Busybox")


@given(st.text(alphabet="aB0.-_/:@[]", max_size=24))
def test_a_whole_name_stays_as_it_is(text: str) -> None:
    try:
        whole = normalized(text)
    except InvalidName:
        return
    assert normalized(whole) == whole
