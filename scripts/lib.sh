# shellcheck shell=bash
# Shared by every script in this folder, which sources it first: strict mode, the checkout as the
# working directory, how to speak and fail, and the versions, each read from the file that owns it.
# shellcheck disable=SC2034  # what is set here is used there

set -euo pipefail
umask 022

# Relative paths are the caller's, whose directory is left below; ~ is not expanded by every shell in
# `make demo PHOTOS=~/Pictures`.
absolute() {
    case $1 in
        '' | /*) printf '%s' "$1" ;;
        \~/*) printf '%s/%s' "$HOME" "${1#??}" ;;
        *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}
case ${PG_CONFIG:=} in
    */*) PG_CONFIG=$(absolute "$PG_CONFIG") ;;
    ?*) PG_CONFIG=$(command -v "$PG_CONFIG" || absolute "$PG_CONFIG") ;;
esac
DESTDIR=$(absolute "${DESTDIR:-}")
PHOTOS=$(absolute "${PHOTOS:-}")

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$CHECKOUT"

PROGRAM=$(basename "$0")
say() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# `first PATTERN FILE`: the first group that the pattern finds in the file.
first() { sed -nE "s#^.*$1.*\$#\\1#p" "$2" | head -n 1; }

PGRX_VERSION=$(first '^pgrx = .*"=([0-9.]+)"' Cargo.toml)
RUST_VERSION=$(first '^rust-version = "([0-9.]+)"' Cargo.toml)
WEBP_VERSION=$(sed -n '/^name = "libwebp-sys"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
TURBOJPEG_VERSION=$(sed -n '/^name = "turbojpeg-sys"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
ONNXRUNTIME_VERSION=$(first '^onnxruntime==([0-9.]+)' scripts/onnxruntime.txt)
ONNXRUNTIME_DIR=$CHECKOUT/target/onnxruntime/$ONNXRUNTIME_VERSION

# What scripts/setup found: PG_CONFIG, PG_MAJOR, CARGO_PGRX (see its end).
SETUP_ENV=$CHECKOUT/target/setup.env
# A fixed name for the PostgreSQL that the extension is compiled against; .cargo/config.toml names it
# too, so that a plain `cargo check` and the scripts share one build.
PG_CONFIG_LINK=$CHECKOUT/target/pg_config

set_up() {
    "$CHECKOUT/scripts/setup"
    # shellcheck source=/dev/null
    . "$SETUP_ENV"
}

# `as_root COMMAND…`: run it as root, through sudo where we are not.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "need root for: $* (run as root, or install sudo)"
    fi
}
