"""Which model a server serves, from what it lists at `/models`; what to do where it lists none."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
from dataclasses import dataclass

from engines.errors import EngineError, EngineInputError
from engines.secrets import shown_url
from engines.separation import Server

WANTS_A_KEY = (401, 403)
NO_SUCH_ROUTE = (404, 405, 501)  # some servers list no models; then the file's word counts
IS_BROKEN = 500  # `transformers serve` lists its cache, which need not be there; likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLook:
    """A look at what a server lists."""

    engine: str  # its name in the file
    server: Server
    model: str | None  # the file's
    api_key_env: str | None
    has_own_key: bool = False  # by a header or the URL
    url_key: str = "base_url"

    def chosen(self) -> str:
        """Returns the model that is asked. Raises EngineError, EngineInputError."""
        served = self._served()
        if self.model is not None:
            if served and self.model not in served:
                raise EngineInputError(
                    f"the server has no model {self.model!r}; set {self.key('model')} to one of: "
                    f"{', '.join(served)}"
                )
            return self.model
        if not served:
            raise EngineInputError(f"the server lists no models; set {self.key('model')}")
        if len(served) > 1:
            raise EngineInputError(
                f"the server lists {len(served)} models; set {self.key('model')} to one of: "
                f"{', '.join(served)}"
            )
        return served[0]

    def key(self, key: str) -> str:
        """Returns the key as it is named in a file's nesting and after `--set`."""
        return f"engines.{self.engine}.{key}"

    def _served(self) -> list[str]:
        url = self.server.url("/models")
        shown = shown_url(url)
        try:
            return [str(entry["id"]) for entry in json.loads(self.server.ask("GET", url))["data"]]
        except urllib.error.HTTPError as error:
            with error:
                if self.model is not None and error.code in (*NO_SUCH_ROUTE, IS_BROKEN):
                    return [self.model]
                refusal = EngineInputError if error.code in WANTS_A_KEY else EngineError
                advice = self._advice(error.code)
                raise refusal(f"{shown} answers {error.code} {error.reason}; {advice}") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or reason
            raise EngineError(f"no answer from {shown} ({why}); {self._way(reason)}") from None
        except (ValueError, KeyError, TypeError):
            raise EngineError(
                f"{shown} does not list models as OpenAI's API does; check "
                f"{self.key(self.url_key)}, or set {self.key('check_model')}=false and name the "
                "model"
            ) from None

    def _advice(self, status: int) -> str:
        """Returns what to do about an answer that is none."""
        if status in WANTS_A_KEY:
            return self._advice_on_keys()
        if status in NO_SUCH_ROUTE:
            return (
                f"{self.key(self.url_key)} mostly ends in /v1; where the server lists no models, "
                f"set {self.key('model')}"
            )
        if status == IS_BROKEN:
            return (
                f"look at the server's log; where only its list of models is broken, set "
                f"{self.key('model')}, and {self.key('api_key_env')} where it wants a key"
            )
        if status in (http.client.BAD_GATEWAY, http.client.SERVICE_UNAVAILABLE):
            return (
                f"it is there and not ready: {self.key('wait_ready')}=120s waits for it; else look "
                "at its log"
            )
        return f"look at the server's log, and at {self.key(self.url_key)}"

    def _advice_on_keys(self) -> str:
        if self.api_key_env:
            return f"is the key in {self.api_key_env} right?"
        if self.has_own_key:
            return f"is what {self.key('headers')} or the URL says of who asks right?"
        variable = f"{self.key('api_key_env')}=VARIABLE"
        return f"it wants a key: export it in an environment variable and name that, {variable}"

    def _way(self, reason: object) -> str:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"{self.key('tls.ca_file')} names a file with certificates of one's own, as "
                f"SSL_CERT_FILE does; {self.key('tls.verify')}=false believes whoever answers"
            )
        if isinstance(reason, ssl.SSLError):
            return (
                "SSL_CERT_FILE names a file with certificates of one's own; "
                f"a server without TLS has a {self.url_key} with http://"
            )
        return (
            f"start the server or mend {self.key(self.url_key)}; "
            f"{self.key('wait_ready')}=120s waits for one that is starting"
        )
