#!/bin/sh
# The CUDA tests, then every preset on the GPU: one command, nine minutes in all, no network.
#
#   sh benchmarks/gpu.sh                                                   # on a machine with a GPU
#   FSBENCH_GPU_DEVICE=cpu FSBENCH_GPU_MODEL=tiny-llama sh benchmarks/gpu.sh --quick      # dry run
#
#   at most 110 s   tests/gpu, and the kernels' tests, which run compiled here
#   at most 425 s   benchmarks.gpu, which shows its own plan, stage by stage
#
# A test that fails, or takes too long, does not end the script: its exit status says so at the end.
#
# Needs torch, triton, numpy, scipy, pandas, pyarrow, pydantic, psutil, pyyaml and a C compiler;
# pytest, hypothesis and pytest-timeout for the tests. What the machine lacks can be brought as
# wheels in wheels/ (ignored by git), for example, where there is a network:
#   pip download --only-binary=:all: --no-deps --python-version 3.12 \
#     --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d wheels \
#     pydantic==VERSION pydantic-core==VERSION annotated-types typing-inspection
# Further arguments go to benchmarks.gpu; results go to FSBENCH_GPU_OUT where that is set.
# FSBENCH_GPU_TESTS=0 leaves the tests out.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
began=$(date +%s)
status=0
if ls wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" wheels/*.whl
    export PYTHONPATH="$PWD:$site"
fi
if [ "${FSBENCH_GPU_DEVICE:-cuda}" = cuda ]; then
    export TRITON_INTERPRET=0
fi
if [ "${FSBENCH_GPU_TESTS:-1}" = 1 ]; then
    kernels=tests/engines/embedded/devices
    # Warnings of the machine's own versions are no failures; its pytest may know other options.
    timeout "${FSBENCH_GPU_TESTS_S:-110}" "$python" -m pytest -q -o filterwarnings=default \
        -p no:cacheprovider --durations=5 tests/gpu "$kernels/test_decode_graphs.py" \
        "$kernels/test_kernel_copies.py" "$kernels/test_kernel_attention.py" \
        || { status=$?; echo "the tests ended with status $status; the measurement goes on"; }
fi
echo "$(($(date +%s) - began)) s for the tests"
timeout "${FSBENCH_GPU_LIMIT_S:-430}" "$python" -m benchmarks.gpu \
    --device "${FSBENCH_GPU_DEVICE:-cuda}" --model "${FSBENCH_GPU_MODEL:-llama-3-8b}" \
    ${FSBENCH_GPU_OUT:+--out "$FSBENCH_GPU_OUT"} "$@" || status=$?
echo "$(($(date +%s) - began)) s in all"
exit "$status"
