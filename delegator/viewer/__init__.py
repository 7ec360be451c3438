"""The viewer: one self-contained HTML page made from a run on record. It needs no network, and nothing in it comes alive."""

from delegator.viewer.html import page
from delegator.viewer.record import Record, Unreadable, recorded, replayed

__all__ = ["Record", "Unreadable", "page", "recorded", "replayed"]
