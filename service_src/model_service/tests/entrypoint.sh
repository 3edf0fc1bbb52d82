#!/bin/sh
# Makes the model that the tests run on, then runs them; arguments are pytest's.
set -eu
if ! /opt/venv/bin/python -m model_service.quantize --allow-requantize \
  "$MODEL_TEST_SOURCE_PATH" "$MODEL_TEST_PATH" 2>/tmp/quantize.log; then
  cat /tmp/quantize.log >&2
  exit 1
fi
exec /opt/venv/bin/python -m pytest -p no:cacheprovider /suite/tests "$@"
