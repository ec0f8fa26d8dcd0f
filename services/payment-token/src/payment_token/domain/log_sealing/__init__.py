"""Sealing the audit log: records that writers chained go into one tree, whose root is signed and published.

:mod:`seal_log` is the use case, which reads from top to bottom · :mod:`chain_check` what a record must be to be sealed ·
:mod:`seal` what is written · :mod:`publication` how a checkpoint gets outside the database · :mod:`ports`.
"""
