"""``python run_benchmark.py BENCHMARK.yaml [--key=value …]`` is ``recbole-ext run BENCHMARK.yaml [--key=value …]``."""

import sys

from recbole_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
