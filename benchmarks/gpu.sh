#!/bin/sh
# What runs on a GPU, tested and measured in at most 8 minutes. From the folder of the project:
#
#     sh benchmarks/gpu.sh
#     DEVICE=cpu sh benchmarks/gpu.sh     # every command at toy sizes, where there is none; figures mean nothing
#
# A part that fails does not stop the others; the exit status is that of the last that failed.
DEVICE=${DEVICE:-cuda}
PYTHON=${PYTHON:-python}
status=0
run() {
    echo "== $*"
    limit=$1
    shift
    timeout "$limit" "$@" || status=$?
}
if [ "$DEVICE" = cpu ]; then
    toy="--backbone resnet18 --seconds 1 --videos 2 --steps 2 --batch 2 --num_workers 0"
    run 300 "$PYTHON" -m pytest -q -m gpu --collect-only tests
    # shellcheck disable=SC2086 # several words
    run 400 "$PYTHON" benchmarks/gpu.py --device cpu $toy
else
    run 120 "$PYTHON" -m pytest -q -m gpu tests
    run 180 "$PYTHON" benchmarks/gpu.py --device "$DEVICE"
    run 180 "$PYTHON" benchmarks/gpu.py --device "$DEVICE" --compile
fi
exit $status
