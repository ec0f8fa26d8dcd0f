"""Sealed audit logs, made by the book and not by the product: small steps, no tiles while hashing, one signature a seal.

They are lists, so a test can change whatever it wants, and put them into a database or hand them to the verifier as they are.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORIGIN = "payment-token/test/decrypt-audit"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class MadeRow:
    writer_id: str
    sequence: int
    recorded_at: datetime
    record: str

    @property
    def month(self) -> str:
        return f"{self.recorded_at:%Y-%m}-01"

    @property
    def entry(self) -> bytes:
        return f"{self.record}\n{spelled(self.recorded_at)}".encode()

    @property
    def leaf(self) -> bytes:
        return sha256(b"\0" + self.entry).digest()

    @property
    def record_hash(self) -> str:
        return sha256(self.record.encode()).hexdigest()

    @property
    def receipt(self) -> str:
        return f"ar2.{self.writer_id}.{self.sequence}.{self.record_hash}"


@dataclass(frozen=True, slots=True)
class MadeSeal:
    first_index: int
    tree_size: int
    root: bytes
    sealed_at: datetime
    runs: Sequence[tuple[str, int, int]]
    checkpoint: str
    signing_key: str = "v1"


@dataclass(slots=True)
class MadeLog:
    """``rows`` are in the order of their leaves; those after the last seal are not sealed."""

    rows: list[MadeRow] = field(default_factory=list)
    seals: list[MadeSeal] = field(default_factory=list)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    chains: list[tuple[str, int, bytes, bool]] = field(default_factory=list)
    origin: str = ORIGIN

    @property
    def size(self) -> int:
        return self.seals[-1].tree_size if self.seals else 0

    @property
    def leaves(self) -> list[bytes]:
        return [row.leaf for row in self.rows[: self.size]]

    def copy(self) -> "MadeLog":
        return replace(
            self,
            rows=self.rows.copy(),
            seals=self.seals.copy(),
            tiles=self.tiles.copy(),
            chains=self.chains.copy(),
        )

    def checkpoints(self) -> Iterator[str]:
        """The lines of the file outside."""
        for seal in self.seals:
            yield from (seal.checkpoint + "\n").splitlines(keepends=True)

    def sealed_again(self, key: Ed25519PrivateKey | None = KEY) -> "MadeLog":
        """Whatever the rows are now, with tiles and roots to it. Without a key the checkpoints stay, and roots of seals."""
        tree = Levels([row.leaf for row in self.rows[: self.size]])
        seals = self.seals
        if key is not None:
            seals = [
                replace(
                    seal, root=root, checkpoint=checkpoint(seal.tree_size, root, key, self.origin)
                )
                for seal in self.seals
                for root in (tree.root(seal.tree_size),)
            ]
        return replace(
            self,
            seals=seals,
            tiles=tree.tiles(),
            chains=chains_of(self.rows[: self.size]),
        )

    def chained_again(self, first: int = 0) -> "MadeLog":
        """Each record holds the hash of the one before it, whatever that is now."""
        previous: dict[str, str] = {}
        rows = []
        for index, row in enumerate(self.rows):
            if index >= first and row.writer_id in previous:
                members = json.loads(row.record) | {"previous": previous[row.writer_id]}
                row = replace(row, record=canonical(members))  # noqa: PLW2901
            previous[row.writer_id] = row.record_hash
            rows.append(row)
        return replace(self, rows=rows)


class Levels:
    """Every complete node of the tree over some leaves."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(below := self._levels[-1]) > 1:
            self._levels.append([node(below[n], below[n + 1]) for n in range(0, len(below) - 1, 2)])

    def root(self, size: int) -> bytes:
        return self._root(0, size) if size else sha256(b"").digest()

    def _root(self, first: int, end: int) -> bytes:
        count = end - first
        if count & (count - 1) == 0:
            return self._levels[count.bit_length() - 1][first // count]
        middle = first + (1 << (count - 1).bit_length() - 1)
        return node(self._root(first, middle), self._root(middle, end))

    def tiles(self) -> dict[tuple[int, int], bytes]:
        tiles = {}
        for level, hashes in enumerate(self._levels[::8]):
            for number in range(len(hashes) // 256):
                tiles[level, number] = b"".join(hashes[number * 256 : number * 256 + 256])
        return tiles


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def spelled(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def canonical(members: Mapping[str, object]) -> str:
    return json.dumps(members, sort_keys=True, separators=(",", ":"))


def key_id(name: str, key: Ed25519PrivateKey) -> bytes:
    return sha256(name.encode() + b"\n\x01" + key.public_key().public_bytes_raw()).digest()[:4]


def vkey(key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    encoded = b64encode(b"\x01" + key.public_key().public_bytes_raw()).decode()
    return f"{name}+{key_id(name, key).hex()}+{encoded}"


def checkpoint(size: int, root: bytes, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN) -> str:
    text = f"{origin}\n{size}\n{b64encode(root).decode()}\n"
    return signed_note(text, key, origin)


def signed_note(text: str, key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    signature = b64encode(key_id(name, key) + key.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n"


def chains_of(rows: Sequence[MadeRow]) -> list[tuple[str, int, bytes, bool]]:
    last = {row.writer_id: row for row in rows}
    return [
        (
            row.writer_id,
            row.sequence,
            bytes.fromhex(row.record_hash),
            json.loads(row.record)["event"] == "log_closed",
        )
        for row in last.values()
    ]


def made_log(
    records: int,
    begin: datetime,
    *,
    of_a_seal: int = 100,
    unsealed: int = 0,
    between: timedelta = 10 * _MILLISECOND,
    seed: int = 1,
    origin: str = ORIGIN,
) -> MadeLog:
    """Three writers at a time; now and then one ends, or is given up, and another one begins.

    Records of a seal lie by writer. The unsealed ones follow at once.
    """
    maker = _Maker(Random(seed), begin, between)  # noqa: S311 - the same log each time
    log = MadeLog(origin=origin)
    while len(log.rows) < records:
        count = min(of_a_seal, records - len(log.rows))
        log.rows += maker.rows(count)
        runs = _runs(log.rows[-count:])
        log.seals.append(
            MadeSeal(len(log.rows) - count, len(log.rows), b"", maker.now + between, runs, "")
        )
    log = log.sealed_again()
    if unsealed:
        log.rows += maker.rows(unsealed)
    return log


def _runs(rows: Sequence[MadeRow]) -> list[tuple[str, int, int]]:
    runs: dict[str, tuple[str, int, int]] = {}
    for row in rows:
        first = runs[row.writer_id][1] if row.writer_id in runs else row.sequence
        runs[row.writer_id] = row.writer_id, first, row.sequence
    return list(runs.values())


class _Maker:
    def __init__(self, random: Random, begin: datetime, between: timedelta) -> None:
        self.now = begin
        self._random = random
        self._between = between
        self._writers: list[tuple[str, int, str]] = []

    def rows(self, count: int) -> list[MadeRow]:
        made = [self._row() for _ in range(count)]
        order = list(dict.fromkeys(row.writer_id for row in made))
        return sorted(made, key=lambda row: (order.index(row.writer_id), row.sequence))

    def _row(self) -> MadeRow:
        self.now += self._between
        if len(self._writers) < 3:
            self._writers.append((f"{self._random.getrandbits(128):032x}", 0, "0" * 64))
        place = self._random.randrange(len(self._writers))
        writer_id, sequence, previous = self._writers[place]
        event = "decrypt" if sequence else "log_opened"
        fate = self._random.randrange(2000)
        if sequence and fate == 0:
            event = "log_closed"
        record = canonical(self._members(event, writer_id, sequence, previous))
        row = MadeRow(writer_id, sequence, self.now + _MILLISECOND, record)
        self._writers[place] = writer_id, sequence + 1, row.record_hash
        if event == "log_closed" or fate == 1:
            del self._writers[place]
        return row

    def _members(
        self, event: str, writer_id: str, sequence: int, previous: str
    ) -> dict[str, object]:
        members: dict[str, object] = {
            "v": 1,
            "writer_id": writer_id,
            "sequence": sequence,
            "previous": previous,
            "event": event,
            "event_time": spelled(self.now),
            "code": "ok",
            "outcome": "done",
            "identity": "service:payment-token/0.1.0",
        }
        if event != "decrypt":
            return members
        return members | {
            "outcome": "released",
            "identity": "spiffe://example.test/worker/settle",
            "certificate_sha256": "c" * 64,
            "source": "10.20.30.40",
            "request_id": f"req_{self._random.getrandbits(64):016x}",
            "merchant_id": "m_demo",
            "token_id": f"pt_{self._random.getrandbits(128):032x}",
            "purpose": "settlement",
            "fields": ["expiry", "pan"],
        }


def insert_log(database: psycopg.Connection, log: MadeLog) -> None:
    """As the owner of the tables. Makes the months' partitions, and the signing key's row."""
    insert_rows(database, log.rows)
    insert_seals(database, log)
    insert_key(database)


def insert_rows(database: psycopg.Connection, rows: Sequence[MadeRow]) -> None:
    for month in sorted({row.month for row in rows}):
        database.execute("SELECT make_audit_partition(%s::date)", (month,))
    cursor = database.cursor()
    columns = "month, writer_id, sequence, recorded_at, record"
    with cursor.copy(f"COPY decrypt_audit_log ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row((row.month, row.writer_id, row.sequence, row.recorded_at, row.record))


def insert_key(database: psycopg.Connection) -> None:
    database.execute(
        "INSERT INTO encryption_keys"
        " (purpose, version, state, kms_key_id, wrapped_key, environment, activated_at, public_key)"
        " VALUES ('audit-signing', 'v1', 'active', 'local:test', '\\x00', 'test', now(), %s)",
        (KEY.public_key().public_bytes_raw(),),
    )


def insert_seals(database: psycopg.Connection, log: MadeLog) -> None:
    database.cursor().executemany(
        "INSERT INTO audit_seals VALUES (%s, %s, %s, %s, %s::uuid[], %s, %s, %s, %s)",
        [
            (
                seal.tree_size,
                seal.first_index,
                seal.root,
                seal.sealed_at,
                *map(list, zip(*seal.runs, strict=True)),
                seal.checkpoint,
                seal.signing_key,
            )
            for seal in log.seals
        ],
    )
    database.cursor().executemany(
        "INSERT INTO audit_tiles VALUES (%s, %s, %s)",
        [(level, number, hashes) for (level, number), hashes in log.tiles.items()],
    )
    opened = {row.writer_id: row.recorded_at for row in log.rows if row.sequence == 0}
    database.cursor().executemany(
        "INSERT INTO audit_chains VALUES (%s, %s, %s, %s, %s)",
        [(chain[0], chain[1], chain[2], opened[chain[0]], chain[3]) for chain in log.chains],
    )
