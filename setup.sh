#!/bin/sh
# Set the project up on Debian or Ubuntu, then run what is asked for. Steps that are already done are
# skipped. Needs python3, and root or sudo if Debian packages are missing.
set -eu

usage() {
    cat <<'END'
Usage: ./setup.sh [demo [ARGUMENTS] | test [ARGUMENTS] | packages [NAMES]]

  ./setup.sh            set up: Debian packages, a virtual environment in .venv, the engines
  ./setup.sh demo       set up, then run: installation demo ARGUMENTS
  ./setup.sh test       set up with the test tools, then run: pytest ARGUMENTS
  ./setup.sh packages   install only the Debian packages, and NAMES; used by systemd/install
END
}

cd "$(dirname "$0")"
what=${1:-setup}
case $what in
    setup | demo | test | packages) [ $# -eq 0 ] || shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo

debian_packages() {
    missing_packages "$@"
    [ -n "$missing" ] || return 0
    if [ -n "$as_root" ]; then
        if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            fail "Debian packages are missing; as root, run: apt-get install$missing"
        fi
    fi
    $as_root apt-get update -qq || fail 'apt-get update failed; see above'
    # Only now does a fresh machine know which packages are available.
    missing_packages "$@"
    [ -n "$missing" ] || return 0
    say "installing Debian packages:$missing"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $missing >&2 || fail 'apt-get install failed; see above'
}

# Whether a package can be installed; unlike this, "apt-cache show" also succeeds for virtual ones.
available() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

# Set $missing to the required packages that are not installed.
missing_packages() {
    # The X libraries are listed because Python's search for a missing one runs a compiler whenever a
    # window opens.
    packages='python3-venv libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libglx-mesa0 libxrandr2
        libxinerama1 fontconfig libfreetype6 fonts-dejavu-core ca-certificates'
    # Renamed in the transition to 64-bit time.
    if available libglib2.0-0t64; then
        packages="$packages libglib2.0-0t64"
    else
        packages="$packages libglib2.0-0"
    fi
    [ "$what" != test ] || packages="$packages xvfb xauth git systemd g++ python3-dev shellcheck strace
        openssl $(debian_libpython)"
    # Ubuntu has it only as a snap; the browser tests are skipped there.
    if [ "$what" = test ] && available chromium; then
        packages="$packages chromium"
    fi
    [ "$what" != packages ] || packages="$packages $*"
    missing=
    for package in $packages; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            'install ok installed') ;;
            *) missing="$missing $package" ;;
        esac
    done
}

# The library of Debian's Python, which the inference server of the tests embeds.
debian_libpython() {
    [ -x /usr/bin/python3 ] || return 0
    name=$(/usr/bin/python3 -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])')
    if available "${name}t64"; then name=${name}t64; fi
    echo "$name"
}

# An inference server for the tests, in an environment of its own because its requirements differ. It
# is not available for other processors and newer Pythons; its tests are skipped there.
server() {
    [ "$(uname -m)" = x86_64 ] && [ -x /usr/bin/python3 ] &&
        /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || return 0
    ! cmp -s tests/triton.txt .venv-triton/.installed || return 0
    say 'installing an inference server for the tests'
    /usr/bin/python3 -m venv --clear .venv-triton ||
        fail 'the virtual environment could not be created; see above'
    .venv-triton/bin/pip install --disable-pip-version-check -q --progress-bar off --no-deps \
        --only-binary :all: -r tests/triton.txt >&2 || fail 'pip install failed; see above'
    cp tests/triton.txt .venv-triton/.installed
}

environment() {
    extras=
    [ "$what" != test ] || extras='[test]'
    # One stamp for each set of packages, with the requirements it was made from.
    stamp=.venv/.installed$extras
    if [ -x .venv/bin/installation ] && cmp -s setup.cfg "$stamp"; then
        return 0
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python 3.10 or newer is required; this is $(python3 --version)"
    if ! [ -x .venv/bin/pip ]; then
        say 'creating a virtual environment in .venv'
        python3 -m venv --clear .venv ||
            fail 'the virtual environment could not be created; see above'
    fi
    say 'installing Python packages (a few minutes the first time)'
    .venv/bin/pip install --disable-pip-version-check -q --progress-bar off -e ".$extras" >&2 &
    # Background jobs ignore Ctrl-C by default.
    trap 'kill $! 2>/dev/null; exit 130' INT TERM
    wait_for $! || fail 'pip install failed; see above'
    trap - INT TERM
    cp setup.cfg "$stamp"
}

# Only the programs of Debian's Prometheus: if installed, its service would monitor this machine.
prometheus() {
    if [ -x .venv/bin/promtool ] || ! available prometheus; then
        return 0
    fi
    say 'unpacking Prometheus'
    # promtool is a separate package since Debian 13.
    programs=prometheus
    ! available promtool || programs='prometheus promtool'
    folder=$(mktemp -d)
    download "$folder" || { $as_root apt-get update -qq && download "$folder"; } ||
        fail 'apt-get download prometheus failed; see above'
    for package in "$folder"/*.deb; do
        dpkg-deb --extract "$package" "$folder"
    done
    mv "$folder/usr/bin/prometheus" "$folder/usr/bin/promtool" .venv/bin/
    rm -r "$folder"
}

# shellcheck disable=SC2086
download() { (cd "$1" && apt-get -qq -o APT::Sandbox::User=root download $programs >&2); }

# Wait for a background job, showing that it still runs.
wait_for() {
    while kill -0 "$1" 2>/dev/null; do
        sleep 1
        waited_s=$((${waited_s:-0} + 1))
        [ $((waited_s % 10)) -ne 0 ] || say "... $waited_s s"
    done
    wait "$1"
}

debian_packages "$@"
[ "$what" != packages ] || exit 0
environment
if [ "$what" = test ]; then
    server
    prometheus
fi
.venv/bin/installation engines build >&2
case $what in
    setup) say 'ready; edit config.yaml, then run: .venv/bin/installation run' ;;
    demo) exec .venv/bin/installation demo "$@" ;;
    test) exec .venv/bin/python -m pytest "$@" ;;
esac
