#!/bin/sh
# Makes the virtual environment $1 with the newest Python >= 3.11 of this machine.
# Debian and Ubuntu keep the venv module in a package of its own: it is installed where it is missing.
set -eu
target=$1

for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "${python:-}" ]; then
    echo "setup: Python 3.11 or newer is needed; install python3 and run make again" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "setup: $python has no venv module; installing python$version-venv"
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq "python$version-venv" >/dev/null
fi
"$python" -m venv "$target"
