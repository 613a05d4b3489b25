"""The workload for a server that is running, named by its URL: attach.yaml with that URL in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from workloads.errors import WorkloadError
from workloads.source import WorkloadSource
from workloads.yaml_file import Setting, parse_overrides, read_yaml

TEMPLATE = Path(__file__).with_name("attach.yaml")
BASE_URL = re.compile(r'(?<= base_url: ").*(?="$)', re.MULTILINE)
# What stands behind the base URL in the addresses of a server's documentation.
ENDPOINT = re.compile(r"/(chat/completions|completions|models)$")
USER_OF_ENVIRONMENT = re.compile(r"\$\{env:\w+\}(:\$\{env:\w+\})?")
HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d+(/.*)?")


def base_url_of(text: str) -> str | None:
    """Returns the base URL that `text` means, None where it is no URL but a file's name.

    A bare HOST:PORT is http, and a URL without a path gets the usual /v1. Raises WorkloadError.
    """
    if re.match(r"https?:", text, re.IGNORECASE):
        url = text
    elif HOST_AND_PORT.fullmatch(text) and not Path(text).exists():
        url = f"http://{text}"
    else:
        return None
    parts = urlsplit(url)
    if not parts.netloc or parts.fragment or re.search(r'[\s"\\]', url):
        raise WorkloadError(f"{text}: must be a URL like http://127.0.0.1:8000/v1")
    path = ENDPOINT.sub("", parts.path.rstrip("/"))
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme.lower()}://{parts.netloc}{path or '/v1'}{query}"


def attach_source(base_url: str, overrides: Sequence[str] = ()) -> WorkloadSource:
    """Returns the workload with the URL and `--set` overrides in it. Raises WorkloadError."""
    source = WorkloadSource(path=TEMPLATE, raw=read_yaml(TEMPLATE), settings=())
    shown = re.sub(r"(?<=://)[^/@]*@", "", base_url)  # a message has no password
    url = Setting(key="engines.server.base_url", value=base_url, where=shown)
    return source.having(url, *parse_overrides(overrides))


def attach_text(base_url: str | None) -> str:
    """Returns the file itself, comments and all; None leaves the URL that stands there. Raises
    WorkloadError for a URL with a password, which would be written down."""
    text = TEMPLATE.read_text(encoding="utf-8")
    if base_url is None:
        return text
    user = urlsplit(base_url).netloc.rpartition("@")[0]
    if user and not USER_OF_ENVIRONMENT.fullmatch(user):
        raise WorkloadError(
            "a URL with user and password is not written into a file; name variables in it, in "
            "quotes: 'http://${env:USER}:${env:PASSWORD}@HOST/v1', which are read when it is played"
        )
    filled, num = BASE_URL.subn(lambda _: base_url, text)
    assert num == 1, f"{TEMPLATE} must say base_url once, says it {num} times"
    return filled
