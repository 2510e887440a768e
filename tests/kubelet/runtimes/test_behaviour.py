"""Rules about simulated containers: which they are about, and which of several decides."""

from tiphys.kubelet.runtimes.behaviour import Behaviour, Behaviours, is_image

NGINX = "docker.io/library/nginx:latest"


def of(behaviours: Behaviours, pod: str = "web-1", attempt: int = 0, image: str = NGINX) -> Behaviour:
    return behaviours.of_container(("default", pod), "main", image, attempt)


def test_a_rule_is_about_what_its_patterns_mean() -> None:
    behaviours = Behaviours()
    behaviours.add(Behaviour(pod="web-*", namespace="def*", container="m?in", exit_code=1))
    assert of(behaviours).ends == (0.0, 1)
    assert of(behaviours, "db").ends is None


def test_images_are_named_long_and_short() -> None:
    for pattern in ("nginx", "nginx:latest", "library/*", "docker.io/library/nginx:latest", "ng*"):
        assert is_image(NGINX, pattern) is (pattern != "library/*")
    assert is_image("quay.io/a/b:1", "quay.io/a/*")
    assert not is_image("quay.io/a/nginx:1", "nginx")


def test_the_newest_that_says_something_decides_each_field() -> None:
    behaviours = Behaviours()
    behaviours.add(Behaviour(exit_code=1, run_seconds=5, ready=False))
    newest = behaviours.add(Behaviour(pod="web-*", run_seconds=7))
    assert of(behaviours).ends == (7, 1)
    assert of(behaviours).ready is False
    behaviours.remove(newest)
    assert of(behaviours).ends == (5, 1)
    behaviours.clear()
    assert of(behaviours) == Behaviour()


def test_first_lives_can_differ_from_later_ones() -> None:
    behaviours = Behaviours()
    behaviours.add(Behaviour(exit_code=1, lives=2))
    assert [of(behaviours, attempt=attempt).ends for attempt in range(3)] == [(0.0, 1), (0.0, 1), None]


def test_pulls_know_the_image_only() -> None:
    behaviours = Behaviours()
    behaviours.add(Behaviour(pod="db", image="nginx", pull_error="no"))
    assert behaviours.of_image(NGINX).pull_error == "no"
    assert behaviours.of_image("docker.io/library/busybox:1").pull_error is None


def test_a_command_line_is_answered() -> None:
    rule = Behaviour(answers={"cat *": ("text", 0), "*": ("?", 2)})
    assert rule.answer("cat /etc/passwd") == ("text", 0)
    assert rule.answer("ls") == ("?", 2)
    assert Behaviour().answer("ls") is None


def test_changes_are_told() -> None:
    told: list[None] = []
    behaviours = Behaviours()
    behaviours.on_change = lambda: told.append(None)
    behaviours.remove(behaviours.add(Behaviour()))
    behaviours.clear()
    assert len(told) == 3
