"""How a server's certificate is checked."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engines.errors import EngineInputError


class Tls(BaseModel):
    """`tls: {verify: …, ca_file: …}`; without it, certificates are checked against the system's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    verify: bool = Field(
        default=True, description="false: whoever answers is believed, and the run's report says so"
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="PEM file of the certificates that are believed, in place of the system's",
    )

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Tls:
        if self.ca_file is not None and not self.verify:
            raise ValueError(
                f"ca_file has no effect with verify: false, got {self.ca_file!r}; leave one of them"
            )
        return self

    def absolute(self) -> Tls:
        """Returns the same for processes with another current directory."""
        if self.ca_file is None:
            return self
        path = Path(self.ca_file).expanduser().absolute()
        return self.model_copy(update={"ca_file": str(path)})


def tls_context(tls: Tls | None) -> ssl.SSLContext:
    """Returns what checks a server so. Raises EngineInputError where the file is no such file."""
    file = None if tls is None or tls.ca_file is None else Path(tls.ca_file).expanduser()
    try:
        context = ssl.create_default_context(cafile=file)
    except FileNotFoundError:
        raise EngineInputError(f"tls.ca_file {file} is not there; name a PEM file") from None
    except OSError as error:  # ssl's own among them
        raise EngineInputError(
            f"tls.ca_file {file} holds no certificates ({error.strerror or error}); name a PEM file"
        ) from None
    if tls is not None and not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
