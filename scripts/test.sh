#!/usr/bin/env bash
# Runs one part of the tests, or several one after the other, as the Makefile has them; a part installs what it needs.
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD/.venv/collections" DOCKER_BUILDKIT=0
export ANSIBLE_COLLECTIONS_PATH="$PWD/.venv/collections"
SERVICES="model_service cache_service storage_service monitoring_service"
SWARM_TESTS=tests/integration/container_service_swarm

say() { printf '\n== %s\n' "$*"; }

# Debian packages that the tests run for real; their daemons aren't started.
debian() {
  local missing=()
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then return; fi
  say "installing ${missing[*]}"
  local sudo policy=/usr/sbin/policy-rc.d
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  # In a shell of its own, whose end takes back what was forbidden, however it ends; one at a time.
  (
    flock 9
    if [ ! -e $policy ]; then
      trap '$sudo rm $policy' EXIT
      printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
      $sudo chmod +x $policy
    fi
    $sudo apt-get update -q
    $sudo apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "${missing[@]}"
  ) 9>.cache/debian.lock
}

# A Docker Engine and all images; what needs them says so in the Makefile.
part_images() { flock .cache/images.lock ansible-playbook llm.orchestrator.build; }

# checkov, in an environment of its own: it needs older packages than everything else.
checkov() {
  [ .cache/checkov.done -ot requirements/checkov.txt ] || return 0
  say "installing checkov"
  python3 -m venv --clear .cache/checkov
  .cache/checkov/bin/python -m pip install --disable-pip-version-check --quiet -r requirements/checkov.txt
  touch .cache/checkov.done
}

part_lint() {
  ruff check .
  ruff format --check .
  MYPYPATH=.venv/collections mypy --explicit-package-bases -p ansible_collections.llm.orchestrator.plugins
  mypy service_src/service_kit/service_kit
  mypy service_src/traefik/traefik-check
  for service in $SERVICES; do
    MYPYPATH=service_src/service_kit mypy "service_src/$service/$service"
  done
  (cd benchmarks/engine && mypy --config-file ../../pyproject.toml ./*.py)
  yamllint --strict .
  ansible-lint --strict
  git ls-files '*.sh' .ci/run service_src/redis/redis-health | xargs shellcheck
  git ls-files '*Dockerfile' | xargs hadolint
  python scripts/check_role_arguments.py
  mypy scripts/terraform_readmes.py
  (cd tests/terraform && mypy --config-file ../../pyproject.toml ./*.py)
  python scripts/terraform_readmes.py --check
}

part_unit() { pytest tests/unit; }

part_sanity() { scripts/sanity.sh; }

part_services() {
  debian redis-server prometheus chromium libjs-chart.js
  for service in service_kit cache_service storage_service monitoring_service; do
    say "tests of $service"
    PYTHONPATH="service_src/service_kit:service_src/$service" pytest "service_src/$service/tests"
  done
}

part_model-service() { service_src/model_service/tests/run-in-image.sh; }

part_integration() {
  debian pebble docker-registry
  # One file's tests share what they deploy, so they stay together.
  pytest --numprocesses 2 --dist loadfile --ignore "$SWARM_TESTS" tests/integration
}

part_molecule() {
  debian openssh-client
  molecule test --scenario-name container_service
  molecule test --scenario-name default
  molecule test --scenario-name traefik
  molecule test --scenario-name models
  molecule test --scenario-name swarm
}

# All of these tests share one Swarm.
part_swarm() {
  debian docker-registry
  pytest "$SWARM_TESTS"
}

# The platform over several hosts, by the playbooks.
part_fleet() {
  debian docker-registry openssh-client
  pytest tests/fleet
}

# Each file in a process of its own: the two that apply mostly wait, for what AWS would take long to make.
part_terraform() {
  checkov
  pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder tests/terraform
}

# Runs pytest on the platform, and leaves that as it was: up if it was up, else down, without a word after pytest's
# closing line.
on_platform() {
  debian chromium
  local status=0 was_up
  was_up=$(docker ps --quiet --filter label=llm.orchestrator.service 2>/dev/null || true)
  make up
  pytest "$@" || status=$?
  [ -n "$was_up" ] || make down >.cache/down.log
  return "$status"
}

part_e2e() { on_platform tests/e2e; }

# The long form of what the end-to-end tests do in short.
part_rollout() { ROLLOUTS=20 KILLS=20 on_platform -s tests/e2e/test_rollout.py; }

# And of model-service's: an hour of mixed load, random disconnects, answers that have to parse.
part_soak() {
  local status=0
  python benchmarks/engine/soak.py || status=$?
  MODEL_TEST_DISCONNECTS=10000 MODEL_TEST_ANSWERS=1000 MODEL_TEST_FUZZ_EXAMPLES=200 \
    service_src/model_service/tests/run-in-image.sh -k "disconnects or structured or openapi" || status=$?
  return "$status"
}

mkdir -p .cache/failed
: "${1:?say which part, or type make test}"
for part in "$@"; do
  say "$part"
  started=$SECONDS
  # What is left there has failed; `make test` shows the end of it.
  log=.cache/failed/$part
  "part_$part" 2>&1 | tee "$log"
  rm "$log"
  # Nothing after pytest's closing line, which ends a whole run.
  [[ "$part" =~ ^(e2e|fleet)$ ]] || say "$part took $((SECONDS - started)) s"
done
