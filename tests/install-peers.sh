#!/bin/sh
# Installs the real peers that the tests talk to, from Debian's or Ubuntu's packages.
# Only what is missing is installed; a peer that cannot be had stops here, so no test is skipped for it.
set -eu

missing=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need storescu dcmtk
need Orthanc orthanc
need redis-server redis-server
need chromium chromium
need tshark tshark
need ip iproute2
need buildah buildah
need debootstrap debootstrap
need pdftoppm poppler-utils
need node nodejs
need npm npm
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"

if [ -n "$missing" ]; then
    echo "peers: installing$missing"
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
