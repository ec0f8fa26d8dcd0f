"""The published vectors, by section."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors"


@cache
def dukpt_vectors() -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((VECTORS / "dukpt.json").read_text())
    return vectors


def entries(section: str) -> list[Any]:
    """One parameter for each entry of a section, named by its id, so that a failing vector is named."""
    return [
        pytest.param(entry, id=entry.get("id") or f"{entry['scheme']}-{entry['ksn']}")
        for entry in dukpt_vectors()[section]
    ]
