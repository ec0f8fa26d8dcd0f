"""The registry of cases. A new one is a file here, and a line below."""

from benchmarks.baselines.echo import ECHO_PLAIN, ECHO_TLS
from benchmarks.baselines.pgbench import PGBENCH_CREATE, PGBENCH_DECRYPT
from benchmarks.cases.batch import CREATE_BATCH, DECRYPT_BATCH
from benchmarks.cases.case import Case
from benchmarks.cases.create import CREATE_AES, CREATE_TDES
from benchmarks.cases.decrypt import DECRYPT, DECRYPT_GRPC
from benchmarks.cases.get import GET
from benchmarks.cases.mixed import MIXED
from benchmarks.cases.reencrypt import REENCRYPT

CASES: tuple[Case, ...] = (
    CREATE_AES,
    CREATE_TDES,
    CREATE_BATCH,
    GET,
    DECRYPT,
    DECRYPT_GRPC,
    DECRYPT_BATCH,
    MIXED,
    REENCRYPT,
    PGBENCH_CREATE,
    PGBENCH_DECRYPT,
    ECHO_PLAIN,
    ECHO_TLS,
)
