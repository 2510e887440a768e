"""What all tests share: one flag, and how Hypothesis runs."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# Whoever runs the tests in the background may have us ignore Ctrl-C: what we start would inherit that, and could not be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The first text drawn on a machine makes Hypothesis tabulate Unicode, for seconds: that says nothing about a strategy.
settings.register_profile("tiphys", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("tiphys")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite what golden stories expect")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
