"""Run as a program by the tests: serves a scripted engine the way `fsbench serve` does a real one.

Arguments: host, port, ready file, API key ("-" for none), and which of `ENGINES`.
"""

import sys
from functools import partial
from pathlib import Path

from engines.errors import EngineError, EngineInputError
from engines.serving.app import create_app
from engines.serving.serve import bind, serve
from tests.engines.serving.scripted_engine import ScriptedEngine
from tests.engines.serving.served import MODEL


class MortalEngine(ScriptedEngine):
    def submit(self, request):
        self.fail(RuntimeError("out of memory"))


ENGINES = {
    "quick": ScriptedEngine,
    "slow": partial(ScriptedEngine, step_s=0.02),
    "dies at the first request": MortalEngine,
}


def main(host, port, ready_file, api_key, engine):
    key = None if api_key == "-" else api_key
    listener = bind(host, int(port), api_key=key)
    app = create_app(MODEL, ENGINES[engine], api_key=key)
    serve(app, listener, ready_file=Path(ready_file))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EngineInputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except EngineError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
