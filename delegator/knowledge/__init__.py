"""The knowledge base: text files on disk, found by words and quoted by passage."""

from delegator.knowledge.index import Hit, Index, Library, OneDocument, Passage, Refreshed

__all__ = ["Hit", "Index", "Library", "OneDocument", "Passage", "Refreshed"]
