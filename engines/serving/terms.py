"""Who asks, in which conversation, and what was promised: from a request's body, from the headers
that a gateway sets, and from the server's own promises to each class.

Body and header may say the same, but not two things: nobody could tell which one was meant.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from engines.promise import DEFAULT_CLASS, Promise
from engines.serving.errors import ApiError
from engines.serving.schemas import GenerationBody, validation_message
from engines.terms import Terms

CONVERSATION_HEADER = "X-Conversation-Id"
USER_HEADER = "X-User-Id"
CLASS_HEADER = "X-User-Class"
SLO_HEADERS = {  # field of `slo` ▸ its header
    "ttft_ms": "X-SLO-TTFT-MS",
    "tbt_ms": "X-SLO-TBT-MS",
    "tbt_percentile": "X-SLO-TBT-Percentile",
    "max_gap_ms": "X-SLO-Max-Gap-MS",
}
MAX_NAME = 256  # characters


def conversation_of(body: GenerationBody, headers: Mapping[str, str]) -> str | None:
    """Raises ApiError."""
    return _name("conversation_id", body.conversation_id, CONVERSATION_HEADER, headers)


def terms_of(
    body: GenerationBody, headers: Mapping[str, str], promises: Mapping[str, Promise]
) -> Terms:
    """Returns who asks and what was promised; `promises`: the server's own to each class. Raises
    ApiError."""
    user_class = _name("user_class", body.user_class, CLASS_HEADER, headers)
    own = _agreed(body.slo or Promise(), _of_headers(headers))
    default = promises.get(user_class or DEFAULT_CLASS, promises.get(DEFAULT_CLASS, Promise()))
    try:
        promise = own.over(default)
        slo = promise.slo() if promise.given() else None
    except ValidationError as error:
        raise ApiError(f"slo: {validation_message(error)}", param="slo") from None
    except ValueError as error:
        raise ApiError(
            f"slo.{error}, and no class's default gives it; send it with the others", param="slo"
        ) from None
    return Terms(
        user_id=_name("user", body.user, USER_HEADER, headers), user_class=user_class, slo=slo
    )


def _name(field: str, said: str | None, header: str, headers: Mapping[str, str]) -> str | None:
    """Returns a name that may stand in a field of the body and in a header. Raises ApiError."""
    given = headers.get(header)
    if given is None or given == said:
        return said
    if said is not None:
        raise ApiError(f"{field} {said!r} and {header} {given!r} differ; send one", param=field)
    if not 1 <= len(given) <= MAX_NAME:
        raise ApiError(
            f"{header} must have 1 to {MAX_NAME} characters, got {len(given)}", param=field
        )
    return given


def _of_headers(headers: Mapping[str, str]) -> Promise:
    given = {field: headers[name] for field, name in SLO_HEADERS.items() if name in headers}
    if not given:
        return Promise()
    try:
        return Promise(**{field: _number(field, text) for field, text in given.items()})
    except ValidationError as error:
        where = error.errors(include_url=False)[0]["loc"]
        header = SLO_HEADERS.get(str(where[0]), "X-SLO") if where else "X-SLO"
        raise ApiError(f"{header}: {validation_message(error)}", param="slo") from None


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ApiError(
            f"{SLO_HEADERS[field]} must be a number, got {text[:80]!r}", param="slo"
        ) from None


def _agreed(said: Promise, given: Promise) -> Promise:
    """Returns what body and headers say together. Raises ApiError where they differ."""
    for field, value in given.given().items():
        other = said.given().get(field, value)
        if other != value:
            raise ApiError(
                f"slo.{field} {other:g} and {SLO_HEADERS[field]} {value:g} differ; send one",
                param="slo",
            )
    try:
        return said.over(given)
    except ValidationError as error:
        raise ApiError(f"slo: {validation_message(error)}", param="slo") from None
