"""`1 turn`, `2,000 turns`: a number with its noun."""


def several(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
