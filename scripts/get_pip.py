"""Stands in for the pip bootstrap script that ansible-test would download: pip from Python's own ensurepip.

ansible-test makes a virtual environment per sanity test and runs this in it with `pip install` options.
"""

import ensurepip
import os
import subprocess
import sys

ensurepip.bootstrap()
# ensurepip points this at the null device; pip must see the machine's own configuration (its CA, its mirror).
os.environ.pop("PIP_CONFIG_FILE", None)
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *options]))
