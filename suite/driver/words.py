"""Words in place of token ids, for plans that fix only lengths and engines that take only text.

One word stands for one id, the same word always, so that equal prefixes stay equal. How many
tokens a word makes is the server's tokenizer's affair: of the common words below nearly every
tokenizer makes one each, but only the server's `usage` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workloads.plan_parts import Turn

WORDS = (  # noqa: SIM905 – a list of 253 quoted words reads worse
    "the of and to in is it you that he was for on are with as his they be at one have this from "
    "or had by hot but some what there we can out other were all your when up use word how said "
    "an each she which do their time if will way about many then them would write like so these "
    "her long make thing see him two has look more day could go come did my sound no most number "
    "who over know water than call first people may down side been now find any new work part "
    "take get place made live where after back little only round man year came show every good "
    "me give our under name very through just form much great think say help low line before "
    "turn cause same mean differ move right boy old too does tell sentence set three want air "
    "well also play small end put home read hand port large spell add even land here must big "
    "high such follow act why ask men change went light kind off need house picture try us again "
    "animal point mother world near build self earth father head stand own page should country "
    "found answer school grow study still learn plant cover food sun four thought let keep eye "
    "never last door between city tree cross since hard start might story saw far sea draw left "
    "late run while press close night real life few stop open seem together next white children"
).split()


def render(turn: Turn) -> str:
    """The turn's new prompt token ids as words, each after a space."""
    return render_ids(turn.new_prompt_token_ids)


def render_ids(token_ids: Iterable[int], words: Sequence[str] = WORDS) -> str:
    """Returns a word for each, after a space."""
    return "".join(f" {words[token_id % len(words)]}" for token_id in token_ids)
