"""SoftHSM2: a PKCS#11 token in software, in a folder of the test's own.

It is where SOFTHSM2_HOME says, else on the machine, else where ``scripts/softhsm2.sh`` unpacked it.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest

from payment_token.domain.sensitive import SensitiveText

USER_PIN = "7412589630"
_SECURITY_OFFICER_PIN = "0369852147"
_CLONE = Path(__file__).parents[4]
_MODULE = "usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True)
class Token:
    """``home`` is the folder that holds its configuration and its objects."""

    label: str
    module: Path
    home: Path
    pin: str = USER_PIN

    @property
    def configuration(self) -> Path:
        return self.home / "softhsm2.conf"

    @property
    def objects(self) -> Path:
        return self.home / "tokens"

    @property
    def secret_pin(self) -> SensitiveText:
        return SensitiveText(self.pin)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs that is to use this token; the PIN is in PKCS11_PIN_FILE."""
        return {
            "SOFTHSM2_CONF": str(self.configuration),
            "PKCS11_MODULE": str(self.module),
            "PKCS11_PIN_FILE": str(self.home / "pin"),
        }

    def uri(self, label: str) -> str:
        return f"pkcs11:token={self.label};object={label}"


def softhsm_home() -> Path:
    """Skips the test where there is none, which under CI=true is a failure."""
    given = os.environ.get("SOFTHSM2_HOME")
    places = [Path(given)] if given else [Path("/"), _CLONE / ".cache/softhsm2/tree"]
    for place in places:
        if (place / _MODULE).exists():
            return place
    reason = "SoftHSM2 is not here: ./scripts/softhsm2.sh gets it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def new_token(folder: Path, *labels: str) -> Iterator[list[Token]]:
    """New tokens of one library, which this process uses until the block ends."""
    home = softhsm_home()
    libraries = _unpacked_libraries(home)
    objects, configuration = folder / "tokens", folder / "softhsm2.conf"
    objects.mkdir()
    configuration.write_text(f"directories.tokendir = {objects}\nlog.level = ERROR\n")
    (folder / "pin").write_text(USER_PIN + "\n")
    (folder / "pin").chmod(0o600)
    tokens = [Token(label, home / _MODULE, folder) for label in labels]
    for token in tokens:
        _initialise(home, token, libraries)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**tokens[0].environment, **libraries}.items():
            if name.startswith(("SOFTHSM2", "LD_")):
                environment.setenv(name, value)
        with _library_started_anew(tokens[0].module):
            yield tokens


def _initialise(home: Path, token: Token, libraries: dict[str, str]) -> None:
    subprocess.run(
        [
            home / "usr/bin/softhsm2-util",
            *("--module", token.module, "--init-token", "--free", "--label", token.label),
            *("--pin", token.pin, "--so-pin", _SECURITY_OFFICER_PIN),
        ],
        env={**os.environ, **libraries, **token.environment},
        check=True,
        capture_output=True,
    )


@contextmanager
def _library_started_anew(module: Path) -> Iterator[None]:
    """The library reads its configuration, and finds its tokens, when it is initialised."""
    library = pkcs11.lib(str(module))
    library.reinitialize()
    try:
        yield
    finally:
        library.finalize()


def _unpacked_libraries(home: Path) -> dict[str, str]:
    """Where an unpacked tree brought libraries of its own, this process loads them, and others are told where they are."""
    if home == Path("/"):
        return {}
    folders = sorted(home.glob("usr/lib/*-linux-gnu"))
    for library in [path for folder in folders for path in folder.glob("lib*.so.*")]:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return {"LD_LIBRARY_PATH": ":".join(map(str, folders))} if folders else {}
