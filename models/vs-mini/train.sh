#!/bin/sh
# Trains vs-mini-1 from nothing and writes the bundle to ../vs-mini-1. Started again, it goes on where it stopped.
#
#   VS_MINI_DATA    the folder with clothing/, fashion-mnist/, mobilenet/, squeezenet/ and glove/ (default ../../../shared/data)
#   VS_MINI_CACHE   where decoded pictures, features and checkpoints go, about 4 GB (default ./cache)
#   VS_MINI_THREADS threads (default 1)
set -eu
cd "$(dirname "$0")"
VS_MINI_CACHE=${VS_MINI_CACHE:-$PWD/cache}
export VS_MINI_CACHE OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1
mkdir -p "$VS_MINI_CACHE"

if [ -z "${VIRTUAL_ENV:-}" ]; then
    [ -x .venv/bin/python ] || { python3 -m venv .venv && .venv/bin/pip install -r requirements.txt; }
    PATH=$PWD/.venv/bin:$PATH
fi

# The picture sources that are Debian packages, unpacked without installing them.
debian=${VS_MINI_DEBIAN:-$VS_MINI_CACHE/debian}
if [ ! -e "$debian/complete" ]; then
    mkdir -p "$debian/packages"
    (cd "$debian/packages" && apt-get download fonts-noto-color-emoji openclipart-png unicode-cldr-core unicode-data wordnet-base)
    for package in "$debian"/packages/*.deb; do dpkg -x "$package" "$debian"; done
    touch "$debian/complete"
fi
export VS_MINI_DEBIAN="$debian"

python -W ignore -m vs_mini.shards 0 4
[ -e "$VS_MINI_CACHE/towers.done" ] || { python -W ignore -m vs_mini.train && touch "$VS_MINI_CACHE/towers.done"; }
python -W ignore -m vs_mini.kinds
python -W ignore -m vs_mini.words
python -W ignore -m vs_mini.export
