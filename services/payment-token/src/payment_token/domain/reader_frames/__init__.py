"""Whole messages of card readers: what is encrypted in them, under which KSN, and what they say of themselves.

A message is taken apart before anything of it is decrypted, and put together to card data afterwards. Whatever it states
(lengths, LRC, checksum, CRC, KSN, serial number, hashes of tracks, MAC) is checked; its masked tracks are never trusted.
"""
