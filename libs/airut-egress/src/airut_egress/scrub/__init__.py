"""Answers never carry a real credential back into the sandbox (field notes 24)."""

from .answer import AnswerScrubber, acceptable_codings
from .codings import Undecodable
from .needles import Needle, needles_of

__all__ = ["AnswerScrubber", "Needle", "Undecodable", "acceptable_codings", "needles_of"]
