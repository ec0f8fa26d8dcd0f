import json

import pytest

from tests.support.vectors import VECTORS as FOLDER
from tests.unit.dukpt.dukpt_vectors import DOCUMENT, name_of

SECTIONS = [name for name, value in DOCUMENT.items() if isinstance(value, list)]


def test_every_section_is_counted():
    assert sorted(DOCUMENT["counts"]) == sorted(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_no_entry_is_missing(section):
    assert len(DOCUMENT[section]) == DOCUMENT["counts"][section]


def test_no_two_entries_share_a_name():
    names = [name_of(vector) for section in SECTIONS for vector in DOCUMENT[section]]
    assert len(set(names)) == len(names) == 123


def test_every_source_that_an_entry_names_is_described():
    named = {
        source
        for section in SECTIONS
        for vector in DOCUMENT[section]
        for source in vector.get("source", [])
    }
    assert named <= set(DOCUMENT["sources"])


def test_the_readme_describes_every_source():
    readme = (FOLDER / "README.md").read_text("utf-8")
    for name, text in DOCUMENT["sources"].items():
        assert f"`{name}`" in readme
        assert text in readme


def test_the_file_is_plain_json():
    assert json.loads((FOLDER / "dukpt.json").read_text("ascii")) == DOCUMENT
