"""A number with its noun: `1 turn`, `2,000 turns`."""


def several(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
