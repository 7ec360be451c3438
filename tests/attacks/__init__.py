"""Attacks as cases: what an attacker places where, what a model that obeys everything does then, and whether it worked."""

from attacks import answers, authority, effects, reading, structure
from attacks.cases import CASES, Case
from attacks.world import World

__all__ = ["CASES", "Case", "World", "answers", "authority", "effects", "reading", "structure"]
