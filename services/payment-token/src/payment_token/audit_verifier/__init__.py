"""The audit log, checked by somebody who trusts neither the service nor its database.

Written apart from what writes and seals the log: it imports nothing else of this product, so a mistake there cannot hide
here. The standard library and cryptography are all it needs; ``python -m payment_token.audit_verifier`` checks an archive.

:mod:`signed_note` and :mod:`checkpoint` what is signed · :mod:`tree` the Merkle tree · :mod:`proofs` and :mod:`tlog_proof` what is
shown of it · :mod:`record` and :mod:`chains` the records of each writer · :mod:`sealed_log` what a log is read from ·
:mod:`verify_log` the checks in their order · :mod:`outside` checkpoints that were kept elsewhere · :mod:`unsealed` what no seal
covers yet · :mod:`report` what was found · :mod:`archive_folder` and :mod:`month_manifests` a log as files.
"""
