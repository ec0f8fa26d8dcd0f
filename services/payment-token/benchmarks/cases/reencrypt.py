"""Old records under a new service key: ``payment-token keys reencrypt``, in a deployment of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.generator import Shape
from benchmarks.measurement import Measurement
from benchmarks.options import Options
from benchmarks.reencrypt import Reencryption, old_records, records_a_second, ways

_CREATES = 50.0


@dataclass(slots=True)
class ReencryptCase:
    name: str = "reencrypt"
    title: str = "records under a new key, alone and beside creates"
    _ways: dict[str, Reencryption] = field(default_factory=dict)
    _env_file: Path | None = None

    def shapes(self, options: Options) -> Sequence[Shape | str]:
        chosen = ways(_CREATES)[:1] if options.short else ways(_CREATES)
        self._ways = {str(way): way for way in chosen}
        return tuple(self._ways)

    def measure(self, bench: Bench, shape: Shape | str) -> Measurement:
        if self._env_file is None:
            # Kept until the end; its server is idle while the other cases run.
            self._env_file = bench.closing.enter_context(old_records(bench.options.records))
        way = self._ways[str(shape)]
        rate = records_a_second(self._env_file, way)
        records = bench.options.records
        return Measurement(self.name, str(way), rate, records / rate, records)


REENCRYPT = ReencryptCase()
