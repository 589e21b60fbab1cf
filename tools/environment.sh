# Sourced by quickstart.sh and run_tests.sh: creates the virtual environment
# .venv in the root of the repository, installs into it and activates it.
# Nothing is installed twice; remove .venv to start again.

PYTHON=${PYTHON:-python3}
STAMP=.venv/detnas_mm.installed

# glibc returns the memory of every feature map to the system and requests it
# again; keeping it saves a tenth of a training step on a CPU.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=8000000000

# The versions that requirements.txt pins, and the package itself.
install_environment() {
    local wanted
    wanted=$(cat requirements.txt setup.cfg setup.py | cksum)
    if [ ! -x .venv/bin/python ]; then
        if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'
        then
            echo "error: $("$PYTHON" --version) is too old, detnas_mm needs" \
                'Python 3.11 or newer: set PYTHON, such as PYTHON=python3.11' >&2
            exit 2
        fi
        echo "\$ $PYTHON -m venv .venv"
        "$PYTHON" -m venv .venv
    fi
    # shellcheck disable=SC1091
    source .venv/bin/activate
    if [ "$(cat "$STAMP" 2>/dev/null || true)" = "$wanted" ]; then
        return
    fi
    echo "\$ pip install -r requirements.txt -e '.[dev]'"
    echo '  (PyTorch and its libraries are several GB: one to five minutes)'
    python -m pip install --quiet --disable-pip-version-check \
        -r requirements.txt -e '.[dev]'
    echo "$wanted" > "$STAMP"
}
