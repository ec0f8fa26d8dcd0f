"""One deployment, made and served once, for every test that does not break it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.support.databases import own_database
from tests.support.deployment import Deployment, RunningService
from tests.support.problems import check_nothing_was_a_defect


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment.made_in(tmp_path_factory.mktemp("deployment"))


@pytest.fixture(scope="session")
def new_deployment(
    tmp_path_factory: pytest.TempPathFactory, server_url: str, whole_template: str
) -> Iterator[Callable[[], Deployment]]:
    """Makes a deployment with a database on the tests' server: one with a server of its own takes seconds longer.

    The database has all its partitions, which maintenance would make while the test runs.
    """
    with ExitStack() as databases:

        def made() -> Deployment:
            url = databases.enter_context(own_database(server_url, whole_template))
            return Deployment.made_in(tmp_path_factory.mktemp("made") / "d", DATABASE_URL=url)

        yield made


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
