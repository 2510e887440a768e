"""What all tests share: one flag, and how Hypothesis runs."""

import pytest
from hypothesis import HealthCheck, settings

# The first text drawn on a machine makes Hypothesis tabulate Unicode, for seconds: that says nothing about a strategy.
settings.register_profile("tiphys", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("tiphys")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite what golden stories expect")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
