#!/bin/sh
# Set the project up on Debian or Ubuntu, then do what is asked. What is there already is not done
# again. Needs python3 and, for Debian packages that are missing, root or sudo.
set -eu

usage() {
    cat <<'END'
Usage: ./setup.sh [demo [ARGUMENTS] | test [ARGUMENTS] | packages [NAMES]]

  ./setup.sh            set up: Debian packages, a virtual environment in .venv, the engines
  ./setup.sh demo       the same, then: installation demo ARGUMENTS
  ./setup.sh test       the same and the test tools, then: pytest ARGUMENTS
  ./setup.sh packages   the Debian packages alone, and those named; systemd/install begins with it
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
    # Before that a bare machine does not know which packages there are.
    missing_packages "$@"
    [ -n "$missing" ] || return 0
    say "installing Debian packages:$missing"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $missing >&2 || fail 'apt-get install failed; see above'
}

# Whether a package of that name can be installed; "apt-cache show" also succeeds for virtual ones.
available() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

# Set $missing to the packages that are wanted and not installed.
missing_packages() {
    # For a library of X that is missing, Python's search would run a compiler each time a window is
    # opened.
    packages='python3-venv libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libglx-mesa0 libxrandr2
        libxinerama1 fontconfig libfreetype6 fonts-dejavu-core ca-certificates'
    # The library went by another name before its 64-bit time was introduced.
    if available libglib2.0-0t64; then
        packages="$packages libglib2.0-0t64"
    else
        packages="$packages libglib2.0-0"
    fi
    [ "$what" != test ] || packages="$packages xvfb xauth git systemd g++ python3-dev shellcheck strace
        openssl $(debian_libpython)"
    # Ubuntu has it as a snap alone; there the page is not shown to a browser.
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

# The library of Debian's own Python, which the inference server that tests run embeds.
debian_libpython() {
    [ -x /usr/bin/python3 ] || return 0
    name=$(/usr/bin/python3 -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])')
    if available "${name}t64"; then name=${name}t64; fi
    echo "$name"
}

# An inference server for the tests, beside our packages: it wants others. There is none for other
# processors and newer Pythons; its tests say that they are skipped.
server() {
    [ "$(uname -m)" = x86_64 ] && [ -x /usr/bin/python3 ] &&
        /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || return 0
    ! cmp -s tests/triton.txt .venv-triton/.installed || return 0
    say 'fetching an inference server for the tests'
    /usr/bin/python3 -m venv --clear .venv-triton || fail 'no virtual environment could be made'
    .venv-triton/bin/pip install --disable-pip-version-check -q --progress-bar off --no-deps \
        --only-binary :all: -r tests/triton.txt >&2 || fail 'pip install failed; see above'
    cp tests/triton.txt .venv-triton/.installed
}

environment() {
    extras=
    [ "$what" != test ] || extras='[test]'
    # One stamp for each set of packages, holding what it was made from.
    stamp=.venv/.installed$extras
    if [ -x .venv/bin/installation ] && cmp -s setup.cfg "$stamp"; then
        return 0
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python 3.10 or newer is needed, this is $(python3 --version)"
    if ! [ -x .venv/bin/pip ]; then
        say 'making a virtual environment in .venv'
        python3 -m venv --clear .venv || fail 'no virtual environment could be made; see above'
    fi
    say 'installing Python packages (a few minutes the first time)'
    .venv/bin/pip install --disable-pip-version-check -q --progress-bar off -e ".$extras" >&2 &
    # A job in the background does not hear Ctrl-C by itself.
    trap 'kill $! 2>/dev/null; exit 130' INT TERM
    wait_for $! || fail 'pip install failed; see above'
    trap - INT TERM
    cp setup.cfg "$stamp"
}

# Of Debian's Prometheus the programs alone: installed, it would watch this machine from then on.
prometheus() {
    if [ -x .venv/bin/promtool ] || ! available prometheus; then
        return 0
    fi
    say 'unpacking Prometheus'
    # Since Debian 13 the second one is a package of its own.
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

# Show that something is going on, until it is over.
wait_for() {
    while kill -0 "$1" 2>/dev/null; do
        sleep 1
        seconds=$((${seconds:-0} + 1))
        [ $((seconds % 10)) -ne 0 ] || say "... $seconds s"
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
