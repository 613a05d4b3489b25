"""llama.cpp's own HTTP server out of the wheel `xllamacpp`; runs in that wheel's environment.

`python llama_cpp_server.py MODEL.gguf PORT ALIAS`, until it is told to end.
"""

import signal
import sys

import xllamacpp

CONTEXT_TOKENS = 8192
NUM_SLOTS = 4

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {sys.argv[3]}
params.port = int(sys.argv[2])
params.n_ctx = CONTEXT_TOKENS
params.n_parallel = NUM_SLOTS
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.endpoint_metrics = True
server = xllamacpp.Server(params)
print(f"listens at {server.listening_address}", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
