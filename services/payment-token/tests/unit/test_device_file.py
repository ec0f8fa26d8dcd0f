"""CSV files of terminals, as spreadsheets and people write them."""

from pathlib import Path

import pytest

from payment_token.cli.device_file import LONGEST_LINE, PASSED_OVER, DeviceFile
from payment_token.cli.refused_lines import Refused, write_refused
from payment_token.settings import ConfigurationError

HEADER = "device_id,serial,make"


def read(tmp_path: Path, content: str | bytes, encoding: str | None = None) -> DeviceFile:
    path = tmp_path / "fleet.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return DeviceFile(path, encoding)


def lines(tmp_path: Path, content: str | bytes, encoding: str | None = None):
    return [
        (line.number, dict(line.fields), line.fault) for line in read(tmp_path, content, encoding)
    ]


ROWS = f'{HEADER}\nd_1,SN1,"Ingenico, S.A."\nd_2,,Müller\n'
EXPECTED = [
    (2, {"device_id": "d_1", "serial": "SN1", "make": "Ingenico, S.A."}, ""),
    (3, {"device_id": "d_2", "make": "Müller"}, ""),
]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path: Path, encoding: str, ending: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    content = mark + ROWS.replace("\n", ending).encode(encoding)
    assert lines(tmp_path, content) == EXPECTED


def test_another_encoding_must_be_named(tmp_path: Path) -> None:
    content = ROWS.encode("cp1252")
    with pytest.raises(ConfigurationError, match=r"is not utf-8\. Save it as CSV in UTF-8"):
        lines(tmp_path, content)
    assert lines(tmp_path, content, "cp1252") == EXPECTED
    with pytest.raises(ConfigurationError, match="no such encoding"):
        lines(tmp_path, content, "klingon")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    content = "Device ID;Serial;MAKE\nd_1;SN1;Ingenico, S.A.\n".replace(";", delimiter)
    assert lines(tmp_path, content) == EXPECTED[:1]


def test_the_last_line_may_lack_its_end(tmp_path: Path) -> None:
    assert lines(tmp_path, ROWS.rstrip("\n")) == EXPECTED


def test_blank_lines_count_and_are_passed_over(tmp_path: Path) -> None:
    found = lines(tmp_path, f"{HEADER}\n\n,,\n   \nd_1,,\n")
    assert found == [(5, {"device_id": "d_1"}, "")]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("d_2,SN", "has 2 fields, and the header has 3"),
        ("d_2,SN,a,b", "has 4 fields, and the header has 3"),
        ('d_2,"SN,a', "has a quote that is not closed, or in the wrong place"),
        ('d_2,"SN"x,a', "has a quote that is not closed, or in the wrong place"),
        ("d_2,SN," + "x" * LONGEST_LINE, f"is longer than {LONGEST_LINE} characters"),
        ("d_2,SN," + "x" * 9 * LONGEST_LINE, f"is longer than {LONGEST_LINE} characters"),
    ],
)
def test_a_bad_line_costs_no_other(tmp_path: Path, bad: str, fault: str) -> None:
    found = lines(tmp_path, f"{HEADER}\nd_1,,\n{bad}\nd_3,,\n")
    assert found == [(2, {"device_id": "d_1"}, ""), (3, {}, fault), (4, {"device_id": "d_3"}, "")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "d_1,SN1,x\n",
        "serial,make\n",
        "device_id,device_id\n",
        "device_id,colour\n",
        'device_id,"serial\n',
        "device_id" + "," * LONGEST_LINE + "\n",
        "\x00\n",
    ],
)
def test_a_file_without_a_header(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigurationError, match="The first line must name the columns"):
        read(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        DeviceFile(tmp_path / "nothing.csv")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        DeviceFile(tmp_path)


def test_refused_lines_can_be_corrected_and_read_again(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        f'{HEADER}\nd_1,4111111111111111,"a, b"\nd_2,=cmd(),x\nd_3,"SN\n',
    )
    refused = [Refused(line, f"because of, {line.number}") for line in file]

    write_refused(tmp_path / "refused.csv", file, refused)

    text = (tmp_path / "refused.csv").read_text()
    assert "4111111111111111" not in text
    assert (tmp_path / "refused.csv").stat().st_mode & 0o777 == 0o600
    again = [dict(line.fields) for line in DeviceFile(tmp_path / "refused.csv")]
    assert again[0] == {
        "line": "2",
        "reason": "because of, 2",
        "device_id": "d_1",
        "serial": "(removed)",
        "make": "a, b",
    }
    assert "'=cmd()" in text
    assert again[1]["serial"] == "=cmd()"
    assert again[2] == {"line": "4", "reason": "because of, 4"}


def test_a_text_that_looks_like_a_formula_comes_back_as_it_was(tmp_path: Path) -> None:
    file = read(tmp_path, f"{HEADER}\n+4711,=SN,-x\n'd_2,'SN,it's\n")
    write_refused(tmp_path / "refused.csv", file, [Refused(line, "why") for line in file])

    again = [
        {name: value for name, value in line.fields.items() if name not in PASSED_OVER}
        for line in DeviceFile(tmp_path / "refused.csv")
    ]

    assert "'+4711" in (tmp_path / "refused.csv").read_text()
    assert again == [dict(line.fields) for line in file]
    assert again[0] == {"device_id": "+4711", "serial": "=SN", "make": "-x"}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_line_that_is_too_long_takes_no_other_with_it(tmp_path: Path, ending: str) -> None:
    rows = [HEADER, "d_1,,", "x" * (3 * LONGEST_LINE), "d_3,,", "d_4,,", ""]
    found = [
        (line.fields.get("device_id"), bool(line.fault))
        for line in read(tmp_path, ending.join(rows))
    ]
    assert found == [("d_1", False), (None, True), ("d_3", False), ("d_4", False)]
