#!/bin/sh
# The CUDA tests, then every preset on the GPU: one command, at most ten minutes, no network.
#
#   sh benchmarks/gpu.sh                                                   # on a machine with a GPU
#   FSBENCH_GPU_DEVICE=cpu FSBENCH_GPU_MODEL=tiny-llama sh benchmarks/gpu.sh --quick      # dry run
#
# Needs torch, numpy, scipy, pandas, pyarrow, pydantic, psutil, pyyaml; pytest, hypothesis and
# pytest-timeout for the tests. What the machine lacks can be brought as wheels in wheels/ (ignored
# by git), for example, where there is a network:
#   pip download --only-binary=:all: --no-deps --python-version 3.12 \
#     --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d wheels \
#     pydantic==VERSION pydantic-core==VERSION annotated-types typing-inspection
# Further arguments go to benchmarks.gpu. FSBENCH_GPU_TESTS=0 leaves the tests out.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if ls wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" wheels/*.whl
    export PYTHONPATH="$PWD:$site"
fi
if [ "${FSBENCH_GPU_TESTS:-1}" = 1 ]; then
    # Warnings of the machine's own versions are no failures; its pytest may know other options.
    timeout 180 "$python" -m pytest -q tests/gpu -o filterwarnings=default -p no:cacheprovider
fi
timeout "${FSBENCH_GPU_LIMIT_S:-400}" "$python" -m benchmarks.gpu \
    --device "${FSBENCH_GPU_DEVICE:-cuda}" --model "${FSBENCH_GPU_MODEL:-llama-3-8b}" "$@"
