"""What a page says first of few engines and of many."""

from __future__ import annotations

from reports.pages.first_screen import verdict


def metrics(shares: dict[str, float]) -> dict[str, object]:
    engines = {
        name: {
            "slo": {"users_within_slo_ratio": share, "users_within_slo_uncapped_ratio": share},
            "fairness": {"longest_gap_s": 10 * share, "longest_wait_s": 1 - share},
        }
        for name, share in shares.items()
    }
    return {"engines": engines, "gates": [], "baseline": None, "comparisons": {}}


def said_of(shares: dict[str, float]) -> tuple[str, str]:
    said = verdict(metrics(shares))
    return tuple(each.replace("\N{NO-BREAK SPACE}", " ") for each in (said.headline, said.extremes))


def test_few_engines_are_named_each():
    headline, extremes = said_of({"a": 0.5, "b": 0.75})
    assert headline == "Users kept within their SLO: a 50 %, b 75 %."
    assert extremes == "Longest gap and longest wait: a 5 s and 500 ms, b 7.5 s and 250 ms."


def test_of_many_the_least_and_the_most_are_said_with_all_that_have_them():
    headline, extremes = said_of({"a": 0.5, "b": 0.75, "c": 0.25, "d": 0.25, "e": 0.75, "f": 0.6})
    assert (
        headline
        == "Users kept within their SLO by 6 engines: from 25 % (c and d) to 75 % (b and e)."
    )
    assert extremes.startswith("Longest gap of all: 7.5 s (b); longest wait: 750 ms (c);")


def test_many_that_are_alike_have_one_share():
    headline, _ = said_of(dict.fromkeys("abcde", 1.0))
    assert headline == "Users kept within their SLO by 5 engines: 100 % (a, b, c, d and e)."
