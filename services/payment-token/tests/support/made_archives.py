"""A made log as an archive: files as C2SP tlog-tiles has them, months as their manifests do."""

import gzip
import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from tests.support.made_logs import ORIGIN, Levels, MadeLog, signed_note, spelled, vkey


def write_archive(log: MadeLog, folder: Path) -> Path:
    leaves = log.leaves
    levels = Levels(leaves)
    size, level = log.size, 0
    hashes = leaves
    while hashes:
        for number in range(-(-len(hashes) // 256)):
            tile = hashes[number * 256 : number * 256 + 256]
            _write(folder / tile_path(str(level), number, len(tile)), b"".join(tile))
        tiles = levels.tiles()
        level += 1
        count = size >> 8 * level
        hashes = [_root_of(tiles[level - 1, number]) for number in range(count)]
    for number in range(-(-size // 256)):
        entries = [row.entry for row in log.rows[number * 256 : min(size, number * 256 + 256)]]
        write_bundle(folder / f"{tile_path('entries', number, len(entries))}.gz", entries)
    _write(folder / "checkpoint", log.seals[-1].checkpoint.encode())
    _write(folder / "checkpoints", "".join(log.checkpoints()).encode())
    _write(folder / "keys", f"{vkey()}\n".encode())
    lines = [
        {
            "first_index": seal.first_index,
            "tree_size": seal.tree_size,
            "sealed_at": spelled(seal.sealed_at),
            "runs": seal.runs,
        }
        for seal in log.seals
    ]
    _write(folder / "seals.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    return folder


def write_month(log: MadeLog, folder: Path, month: str, first: int, end: int) -> None:
    """The manifest of the leaves from ``first`` up to ``end``, with the full tiles over them."""
    paths = [tile_path("0", number, 256) for number in range(first // 256, end // 256)]
    paths += [path.replace("/0/", "/entries/") + ".gz" for path in paths]
    content = {
        "origin": ORIGIN,
        "month": month,
        "first_index": first,
        "last_index": end - 1,
        "records": end - first,
        "root": Levels(log.leaves).root(end).hex(),
        "files": {path: sha256((folder / path).read_bytes()).hexdigest() for path in paths},
    }
    text = json.dumps(content).encode()
    _write(folder / f"months/{month}.json", text)
    digest = b64encode(sha256(text).digest()).decode()
    note = signed_note(f"{ORIGIN}\nmonth {month}\n{digest}\n")
    _write(folder / f"months/{month}.sig", note.encode())


def write_bundle(path: Path, entries: list[bytes]) -> None:
    plain = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    _write(path, gzip.compress(plain, mtime=0))


def tile_path(level: str, number: int, width: int) -> str:
    partial = "" if width == 256 else f".p/{width}"
    return f"tile/{level}/{number:03}{partial}"


def _root_of(tile: bytes) -> bytes:
    return Levels([tile[n : n + 32] for n in range(0, len(tile), 32)]).root(256)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
