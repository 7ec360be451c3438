"""The journal: what happened in every run, written before anything depends on it, in one SQLite file.

A run is a list of numbered entries that only grows. Each carries a hash over itself and the one before it. No key, no header and no
model's request is stored.
"""

from delegator.journal.file import FILE, JournalError, forget
from delegator.journal.past import Past, Row
from delegator.journal.writer import Journal, Opened

__all__ = ["FILE", "Journal", "JournalError", "Opened", "Past", "Row", "forget"]
