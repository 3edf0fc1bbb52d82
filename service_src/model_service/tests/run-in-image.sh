#!/usr/bin/env bash
# Runs the tests of model-service in its image, as it is built; arguments are pytest's.
# The image brings the compiled llama.cpp, and the tests see what will run: its user, its libraries, a
# read-only root. MODEL_IMAGE and BASE_IMAGE name other images than the built ones.
set -euo pipefail
cd "$(dirname "$0")/.."

export DOCKER_BUILDKIT=0
base=${BASE_IMAGE:-llm-orchestrator/base:0.1.0}
model=${MODEL_IMAGE:-llm-orchestrator/model-service:0.1.0}
tests=llm-orchestrator/model-service-tests:0.1.0

docker build --build-arg "BASE_IMAGE=$base" --build-arg "MODEL_IMAGE=$model" \
  --tag "$tests" --file tests/Dockerfile .
# The long forms of some tests are asked for by variables, and a GPU for all of them.
exec docker run --rm --read-only --tmpfs /tmp:size=1g,mode=1777 --network none --cap-drop ALL \
  ${MODEL_TEST_GPU_LAYERS:+--gpus all --env MODEL_TEST_GPU_LAYERS} \
  --env MODEL_TEST_ANSWERS --env MODEL_TEST_DISCONNECTS --env MODEL_TEST_DRAWS --env MODEL_TEST_FUZZ_EXAMPLES \
  "$tests" "$@"
