#!/usr/bin/env bash
# ansible-test sanity for the plugins. It wants the collection at ansible_collections/llm/orchestrator, and
# looks at no file that git ignores, so a copy of what it should see goes outside the checkout.
set -euo pipefail
python=$PWD/.venv/bin/python
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
copy=$place/ansible_collections/llm/orchestrator

mkdir -p "$copy"
cp -r galaxy.yml README.md meta plugins "$copy"
find "$copy" -name __pycache__ -prune -exec rm -rf {} +

# The bootstrap script's name carries the pip version that ansible-test pins.
pip_version=$("$python" - <<'PYTHON'
import inspect, re
from ansible_test._internal import python_requirements
source = inspect.getsource(python_requirements.get_venv_packages)
print(re.search(r"pip='([\d.]+)'", source).group(1).replace(".", "_"))
PYTHON
)
bootstrap=$HOME/.ansible/test/cache/get_pip_$pip_version.py
mkdir -p "$(dirname "$bootstrap")"
[ -e "$bootstrap" ] || cp scripts/get_pip.py "$bootstrap"

cd "$copy"
PATH="$(dirname "$python"):$PATH" ansible-test sanity --local --requirements --python "$("$python" -c \
  'import sys; print("%d.%d" % sys.version_info[:2])')" --color no "$@"
