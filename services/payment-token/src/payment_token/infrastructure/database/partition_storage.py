"""How PostgreSQL keeps each partition of payment_tokens."""

# A partitioned table has no storage parameters of its own: each partition gets these when it is made.
#
# fillfactor: revoking and re-encryption change rows in place of the old ones; with a tenth of each page free, the new
#   version finds room on the same page, and no index is touched.
# vacuum_scale_factor, vacuum_threshold: what a revocation shreds lies in the file until vacuum. By default it would wait
#   for a fifth of the partition.
# vacuum_insert_…: nothing is gained by vacuuming what was only inserted, and is dropped whole in a while.
TOKEN_PARTITION_STORAGE = {
    "fillfactor": "90",
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "200",
    "autovacuum_vacuum_insert_scale_factor": "1",
    "autovacuum_vacuum_insert_threshold": "1000000",
}
