#!/usr/bin/env bash
# Makes .venv with the pinned packages of $1 and links this checkout into it as the collection
# llm.orchestrator; $2 is touched once all is there, so an interrupted run starts over.
set -euo pipefail
requirements=$1 stamp=$2

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "llm.orchestrator: Python 3.11 or newer is needed, this is $(python3 --version 2>&1)" >&2
  exit 1
fi
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  # Debian ships these two apart from Python.
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -q && $sudo apt-get install -y -q python3-venv
fi

echo "Installing $requirements into .venv"
[ -x .venv/bin/pip ] || python3 -m venv --clear .venv
.venv/bin/python -m pip install --disable-pip-version-check -r "$requirements"

mkdir -p .venv/collections/ansible_collections/llm
ln -sfn "$PWD" .venv/collections/ansible_collections/llm/orchestrator
touch "$stamp"
