"""Tokens of textual inversions: the words that stand for them in prompts."""

import re


def word(token: str) -> re.Pattern[str]:
    """Returns the pattern of a token as a whole word of a prompt, in any case."""
    return re.compile(rf"(?<!\w){re.escape(token)}(?!\w)", re.IGNORECASE)
