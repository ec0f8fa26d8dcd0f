"""A log whose past nobody can change unseen: a Merkle tree over its entries, and signed statements of its root.

:mod:`hashes` the hashes of leaves and nodes · :mod:`frontier` the right edge of a tree that grows, in tiles ·
:mod:`proofs` that an entry is in a tree, and that a tree grew out of another one · :mod:`verification` of both ·
:mod:`signed_note` text with signatures · :mod:`checkpoint` a signed size and root.

Formats are those of Certificate Transparency (RFC 9162, whose trees are those of RFC 6962) and of C2SP (tlog-tiles,
tlog-checkpoint, signed-note), so that tools which others wrote can check what this service signs.
"""
