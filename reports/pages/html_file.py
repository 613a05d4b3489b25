"""Any of the pages as one offline file: template, style, script, figures and Plotly in it.

Plotly (4.8 MB) and the figures are packed: gzip in base64, unpacked by the browser's own
DecompressionStream (Chromium 80, Firefox 113, Safari 16.4), so that a page has about 2 MB.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports.sections.section import Section
from reports.words.glossary import GLOSSARY

_TEMPLATES = Path(__file__).parents[1] / "templates"


def write_page(path: Path, template: str, *, sections: Sequence[Section], **values: Any) -> Path:
    """Writes the page whole or not at all: one that is being read is never half written."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(template).render(
        **values,
        sections=sections,
        figures=Markup(_packed(_figures_json(sections).encode())),
        glossary=GLOSSARY,
        css=_asset("page.css"),
        javascript=_asset("page.js"),
        plotly=Markup(_packed_plotly()),
    )
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(html, encoding="utf-8")
    return partial.replace(path)


def _figures_json(sections: Sequence[Section]) -> str:
    """Returns {figure id: Plotly figure}, in the page's order."""
    each = (
        f"{json.dumps(figure.figure_id)}: {figure.figure.to_json()}"
        for section in sections
        for figure in section.figures
    )
    return "{" + ",\n".join(each) + "}"


def _asset(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _packed_plotly() -> str:
    return _packed(get_plotlyjs().encode())


def _packed(data: bytes) -> str:
    """Returns the data as gzip in base64, which knows no '<': no text of a run can close the
    element it stands in."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
