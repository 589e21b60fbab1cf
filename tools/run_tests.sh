#!/usr/bin/env bash
# Installs what the tests need into .venv and runs them. Arguments go to
# pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/environment.sh
source tools/environment.sh
install_environment
ruff check .
ruff format --check .
# Workers of pytest share the cores; each uses one thread.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile "$@"
