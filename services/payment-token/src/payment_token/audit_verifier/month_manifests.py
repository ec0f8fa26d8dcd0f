"""The manifests of an archive: what each closed month consists of, signed.

``months/YYYY-MM.json`` has the month's leaves, the root of the tree with the last one of them, and the SHA-256 of each of its
files. ``months/YYYY-MM.sig`` is a signed note: origin, "month YYYY-MM", and the base64 SHA-256 of the manifest.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from payment_token.audit_verifier.checkpoint import HASH_BYTES, Checkpoint, TrustedKeys
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.signed_note import NoteError, SignedNote
from payment_token.audit_verifier.tree import TILE_WIDTH

_MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)
_PATH = re.compile(r"tile/(?:entries|\d+)/(?:x\d{3}/)*\d{3}(?:\.p/\d+)?(?:\.gz)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manifest:
    month: str
    first_index: int
    last_index: int
    root: bytes
    files: Mapping[str, str]


class MonthManifests:
    """``minimum_index`` is the first leaf whose entry has not expired."""

    def __init__(self, folder: Path, keys: TrustedKeys, report: Report, minimum_index: int) -> None:
        self._folder = folder
        self._keys = keys
        self._report = report
        self._minimum_index = minimum_index
        self.manifests: list[Manifest] = []

    def check(self) -> None:
        """Their signatures, that they follow each other, and their files."""
        end: int | None = None
        for path in sorted(self._folder.glob("months/*.json")):
            manifest = self._read(path, end or 0)
            if manifest is None:
                continue
            if end is not None and manifest.first_index != end:
                self._report.add(
                    min(end, manifest.first_index),
                    f"the month {manifest.month} begins at leaf {manifest.first_index}, and the one before it ends at {end - 1}",
                )
            elif end is None and manifest.first_index:
                self._report.incomplete.append(
                    f"months/ begins with {manifest.month} at leaf {manifest.first_index}"
                )
            end = manifest.last_index + 1
            self._check_files(manifest)
            self.manifests.append(manifest)
            self._report.months += 1

    def roots(self) -> Iterator[Checkpoint]:
        """They are compared with the tree, like checkpoints that were kept elsewhere."""
        for manifest in self.manifests:
            if manifest.last_index >= 0:
                yield Checkpoint(self._keys.origin, manifest.last_index + 1, manifest.root)

    def _read(self, path: Path, index: int) -> Manifest | None:
        month, content = path.stem, path.read_bytes()
        digest = b64encode(sha256(content).digest()).decode()
        text = f"{self._keys.origin}\nmonth {month}\n{digest}\n"
        try:
            signed = SignedNote.parse(path.with_suffix(".sig").read_text("utf-8"))
            self._keys.signer(signed)
        except FileNotFoundError:
            self._report.incomplete.append(f"months/{month}.sig is missing from the archive")
            return None
        except (NoteError, UnicodeDecodeError) as error:
            self._report.add(index, f"months/{month}.sig: {error}")
            return None
        manifest = _parsed(content)
        if signed.text != text or manifest is None or manifest.month != month:
            self._report.add(index, f"months/{month}.json is not what was signed")
            return None
        return manifest

    def _check_files(self, manifest: Manifest) -> None:
        for path, digest in manifest.files.items():
            try:
                with (self._folder / path).open("rb") as file:
                    found = file_digest(file, "sha256").hexdigest()
            except OSError:
                if not self._has_expired(path):
                    self._report.incomplete.append(f"{path} is missing from the archive")
                continue
            if found != digest:
                self._report.add(
                    manifest.first_index,
                    f"{path} is not the file that the manifest of {manifest.month} names",
                    manifest.last_index,
                )

    def _has_expired(self, path: str) -> bool:
        folder, _, name = path.partition("tile/entries/")
        if folder:
            return False
        number = int(re.sub(r"\.p/.*|\D", "", name.removesuffix(".gz")) or "0")
        return (number + 1) * TILE_WIDTH <= self._minimum_index


def _parsed(content: bytes) -> Manifest | None:
    try:
        members = json.loads(content)
        manifest = Manifest(
            str(members["month"]),
            int(members["first_index"]),
            int(members["last_index"]),
            bytes.fromhex(members["root"]),
            {str(path): str(digest) for path, digest in members["files"].items()},
        )
        records = int(members["records"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    sound = (
        _MONTH.fullmatch(manifest.month)
        and len(manifest.root) == HASH_BYTES
        and records == manifest.last_index - manifest.first_index + 1
        # No path leads out of the archive.
        and all(_PATH.fullmatch(path) for path in manifest.files)
    )
    return manifest if sound else None
