#!/bin/sh
# install_system_packages.sh PYTHON [test|fuzz]: what achar's build needs from the system, and what
# `make test` or `make fuzz` needs besides.
#
# Looks for each thing itself, not for its package, so that a machine that has it from elsewhere is
# left alone, and so that the second run asks nobody and takes no time. What is missing comes from
# apt, as root or through sudo; without either, the command to type is printed.
set -eu
python=${1:-python3}

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || die "achar needs Python 3.10 or newer; '$python' is not here."

missing=
need() { # need PACKAGE PROBE...: PACKAGE is missing if PROBE fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need gcc command -v "${CC:-cc}"
need libc6-dev "${CC:-cc}" -E -x c -include stdio.h /dev/null
need pkg-config command -v pkg-config
need libcmocka-dev pkg-config --exists cmocka
need libgmp-dev pkg-config --exists gmp
need libsqlite3-dev pkg-config --exists sqlite3
need libzstd-dev pkg-config --exists libzstd
case "${2-}" in
test | fuzz)
    need clang command -v clang
    need libclang-rt-dev sh -c 'echo "int LLVMFuzzerTestOneInput(void) { return 0; }" |
        clang -fsanitize=fuzzer,address -x c -o /dev/null -'
    ;;
esac
if [ "${2-}" = test ]; then
    need g++ command -v g++
    need mandoc command -v mandoc
    need tmux command -v tmux
    need spin command -v spin
    need ccache command -v ccache # the interpreters' builds have much in common
fi

# Debian splits CPython into packages. Any other interpreter has to be complete by itself.
parts=$("$python" -E - <<'END'
import importlib.util, os, sys, sysconfig

if sys.version_info < (3, 10):
    sys.exit("achar needs Python 3.10 or newer; %s is %s" % (sys.executable, sys.version.split()[0]))
version = "%d.%d" % sys.version_info[:2]
header = os.path.join(sysconfig.get_path("include"), "Python.h")
lacking = []
if not os.path.exists(header):
    lacking.append(("python%s-dev" % version, header))
if not importlib.util.find_spec("ensurepip"):
    lacking.append(("python%s-venv" % version, "the module ensurepip"))
if not importlib.util.find_spec("test.pickletester"):
    lacking.append(("libpython%s-testsuite" % version, "CPython's own tests (the package test)"))
debian = os.path.realpath(sys.executable) == "/usr/bin/python" + version and os.path.exists("/usr/bin/dpkg")
if lacking and not debian:
    sys.exit("%s is incomplete. It has no\n  %s\nInstall it whole, or choose another: make PYTHON=/path/to/python3"
             % (sys.executable, "\n  ".join(what for _, what in lacking)))
print(" ".join(package for package, _ in lacking))
END
) || exit 1
missing="$missing $parts"

# shellcheck disable=SC2086 # the list is split on purpose, here and below
set -- $missing
[ $# -gt 0 ] || exit 0

echo "== Debian packages to install: $*"
command -v apt-get >/dev/null 2>&1 ||
    die "There is no apt-get here. Install what these Debian packages hold, then try again: $*"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=sudo
else
    die "That takes root, and sudo is not to be had here. As root, type:" \
        "    apt-get update && apt-get install --no-install-recommends $*" \
        "then try again."
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
} >"$log" 2>&1 || {
    cat "$log" >&2
    die "apt-get could not install: $*"
}
