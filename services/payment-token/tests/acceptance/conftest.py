"""One deployment, made and served once, for every test that does not break it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.deployment import Deployment, RunningService
from tests.support.problems import check_nothing_was_a_defect


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment.made_in(tmp_path_factory.mktemp("deployment"))


@pytest.fixture(scope="session")
def service(deployment: Deployment) -> Iterator[RunningService]:
    with deployment.serving() as running:
        yield running
        check_nothing_was_a_defect(running)


@pytest.fixture(scope="session")
def strict_service(deployment: Deployment) -> Iterator[RunningService]:
    """The same deployment, with the checks that hold outside development."""
    with deployment.serving(CARD_CHECKS="strict") as running:
        yield running
        check_nothing_was_a_defect(running)


@pytest.fixture
def pos(service: RunningService) -> Iterator[httpx.Client]:
    """A POS integrator with an API key for the merchant m_demo."""
    with service.public() as client:
        yield client


@pytest.fixture
def worker(service: RunningService) -> Iterator[httpx.Client]:
    """The worker that the policy knows."""
    with service.worker() as client:
        yield client
