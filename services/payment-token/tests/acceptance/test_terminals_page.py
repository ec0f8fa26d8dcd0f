"""The page for those who connect terminals: its blocks, run in order in one shell against a service, answer as it says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from payment_token.domain.reader_profiles import BUILT_IN
from tests.support.deployment import Deployment, RunningService
from tests.support.problems import check_nothing_was_a_defect

PAGE = Path(__file__).parents[4] / "docs" / "terminals.md"
# What an answer on the page has to have in common with the one that came.
SAID = re.compile(r'"(?:bin|last4|brand|entry_mode|code|hint)": ?"[a-z0-9_-]+"|"luhn": ?false')
SHOWN = re.compile(r"^[^…]+")


def sections() -> dict[str, list[tuple[str, str]]]:
    """Of each section its blocks: language and text."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        found[name] = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return found


def script(deployment: Deployment, url: str) -> tuple[str, list[str]]:
    """One script of all blocks, with a line of its own before each; and what each is said to give."""
    lines, said = ["set -e"], []
    for blocks in sections().values():
        for language, text in blocks:
            if language == "bash":
                lines.append(f"echo '=== {len(said)}'\n{_here(text, deployment, url)}")
                said.append("")
            else:
                said[-1] += text
    return "\n".join(lines), said


def _here(text: str, deployment: Deployment, url: str) -> str:
    """The block, for this deployment instead of that of the quickstart."""
    for pattern, instead in (
        (r"^DEPLOYMENT=.*", f"DEPLOYMENT={deployment.folder}"),
        (r"^URL=.*", f"URL={url}"),
        (r"^export PATH=.*", ""),
        (r"/\w+/swipe\.txt", str(deployment.folder / "swipe.txt")),
    ):
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


@pytest.fixture(scope="module")
def outputs(
    new_deployment: Callable[[], Deployment],
) -> tuple[list[str], list[str]]:
    """What each block printed, and what the page says that it does."""
    deployment = new_deployment()
    with deployment.serving() as service:
        text, said = script(deployment, service.urls["public"])
        printed = _run(deployment, service, text)
        check_nothing_was_a_defect(service)
    return re.split(r"^=== \d+\n", printed, flags=re.MULTILINE)[1:], said


def _run(deployment: Deployment, service: RunningService, text: str) -> str:
    programs = Path(sys.executable).parent
    environment = os.environ | deployment.environment
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", text],
        env=environment,
        cwd=deployment.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_every_block_of_the_page_answers_as_it_says(outputs: tuple[list[str], list[str]]) -> None:
    printed, said = outputs

    assert len(printed) == len(said) > 8
    assert sum(map(bool, said)) > 6
    for output, text in zip(printed, said, strict=True):
        spaceless = output.replace('": ', '":')
        for word in SAID.findall(text):
            assert word.replace('": ', '":') in spaceless
        if not text.startswith("{"):
            for line in filter(None, text.splitlines()):
                start = SHOWN.match(line.strip())
                assert start is None or start[0].strip() in output


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_no_block_shows_a_card_number(outputs: tuple[list[str], list[str]]) -> None:
    printed, _ = outputs
    for number in ("5452300551227189", "4266841088889999", "4111111111111111", "4761739001010010"):
        assert number not in "".join(printed)


def test_each_profile_of_a_reader_is_on_the_page() -> None:
    text = PAGE.read_text()
    assert [name for name in BUILT_IN if f"`{name}`" not in text] == []
