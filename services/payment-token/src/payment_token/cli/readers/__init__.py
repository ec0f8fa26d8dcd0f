"""Messages as card readers put them together. One module for each kind of message; none of them knows a key.

A builder takes the KSN of the read, a function that encrypts under its key (zeros are added to the last block), the
tracks, and the reader's serial number, empty where none has been set.
"""
