"""After a restore from backup: what the audit log tells of the time that the database has lost is done once more.

:mod:`endings` what must not come back to life · :mod:`comparison` how far database, archive and outside checkpoints reach, and
that they are of one log · :mod:`recover` the use case · :mod:`ports` what it needs.
"""
