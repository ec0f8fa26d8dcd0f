"""The audit log beyond the database: an archive that a verifier reads without us, retention, and legal holds.

:mod:`month` which months are closed · :mod:`layout` where in an archive what is, byte by byte · :mod:`growing_tree` the tiles of
the tree as it grows · :mod:`manifest` what a closed month consists of · :mod:`export_log` the log goes into an archive ·
:mod:`archive_months` closed months leave the database · :mod:`retention` what may go, and what is held ·
:mod:`legal_hold` · :mod:`remove_expired` · :mod:`ports` what they need.
"""
