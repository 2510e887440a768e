"""kube-apiserver's flags, and a server that is told by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import Client, running

from tiphys.apiserver.flags import FLAGS, FlagError, apply, shown
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.machinery.quoting import parse_duration
from tiphys.testing.clock import FakeClock

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def test_every_flag_sets_a_field_and_is_shown() -> None:
    settings = Settings(b"")
    assert {flag.name for flag in FLAGS} <= shown(settings).keys()
    for flag in FLAGS:
        assert hasattr(settings, flag.field), flag


def test_values() -> None:
    settings = apply(
        Settings(b""),
        [
            "--max-requests-inflight=7",
            "request-timeout=1m30s",
            "anonymous-auth=false",
            "enable-priority-and-fairness",
            "disable-admission-plugins=Priority",
            "disable-admission-plugins=ServiceAccount, RuntimeClass",
            "runtime-config=metrics.k8s.io/v1beta1=false,apps/v1=true",
        ],
    )
    assert settings.max_requests_inflight == 7
    assert settings.runtime_config == (("metrics.k8s.io/v1beta1", "false"), ("apps/v1", "true"))
    assert shown(settings)["runtime-config"] == "[metrics.k8s.io/v1beta1=false,apps/v1=true]"
    assert settings.request_timeout_seconds == 90
    assert settings.anonymous_auth is False
    assert settings.fairness is True
    assert settings.disable_admission_plugins == ("Priority", "ServiceAccount", "RuntimeClass")


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("nope=1", "unknown flag: --nope"),
        ("max-requests-inflight", "flag needs an argument: --max-requests-inflight"),
        ("max-requests-inflight=x", 'invalid argument "x" for "--max-requests-inflight" flag'),
        ("max-requests-inflight=-1", "it must not be negative"),
        ("request-timeout=1", 'time: invalid duration "1"'),
        ("anonymous-auth=maybe", "it must be true or false"),
        ("enable-admission-plugins=Nope", "unknown admission plugin Nope"),
        ("authorization-mode=RBAC,Magic", 'authorization-mode "Magic" is not a valid mode'),
        ("runtime-config=metrics.k8s.io", "runtime-config invalid key metrics.k8s.io"),
        ("runtime-config=api/v1=false", "runtime-config invalid key api/v1"),
        ("runtime-config=api/alpha=maybe", "it must be true or false"),
        ("runtime-config=api/all=false", "invalid key with only api/all=false"),
        ("runtime-config=batch/v1/jobs=false", "batch/v1/jobs is stable, and is always served"),
        ("feature-gates=Nope=true", "unrecognized feature gate: Nope"),
        ("feature-gates=AllAlpha", "missing bool value for AllAlpha"),
        ("feature-gates=AllAlpha=perhaps", "invalid value of AllAlpha=perhaps, err: strconv.ParseBool"),
        ("runtime-config=apps/v1=false", "apps/v1 is stable, and is always served"),
        ("authorization-mode=RBAC,RBAC", "has mode specified more than once"),
    ],
)
def test_bad_ones_are_refused_in_a_line(argument: str, complaint: str) -> None:
    with pytest.raises(FlagError) as raised:
        apply(Settings(b""), [argument])
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1.5s", 1.5), ("2h45m", 9900), ("-1m", -60), ("100ms", 0.1), (".5s", 0.5), ("3us", 3e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s1", "--1s", "1 s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        parse_duration(text)


async def test_a_server_that_is_told_so(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("t,alice,1\n")
    told = {
        "token_auth_file": str(tokens),
        "anonymous_auth": False,
        "disable_admission_plugins": ("Priority",),
    }
    async with running(clock, signing_key, **told) as server:
        client = Client(server)
        found = await client.anonymous().call("POST", WHO, {}, authorization="Bearer t")
        assert found.body["status"]["userInfo"]["username"] == "alice"
        assert (await client.anonymous().call("GET", "/livez")).status == 401
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        made = await client.create("/api/v1/namespaces/default/pods", pod)
        assert "priority" not in made["spec"]


async def test_it_does_not_start_with_a_broken_file(
    clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("t\n")
    with pytest.raises(
        ConfigurationError, match=r"--token-auth-file: .*tokens:1: a line needs at least 3 columns"
    ):
        async with running(clock, signing_key, token_auth_file=str(tokens)):
            pass
