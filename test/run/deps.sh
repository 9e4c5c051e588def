#!/usr/bin/env bash
# Install what "make demo" and "make test" need on Debian.  Does nothing when
# it is all there; otherwise wants root.  What the suite orms takes from npm
# is in test/orms/install.sh.
set -euo pipefail

PG_MAJOR=${PG_MAJOR:-15}
packages=(
    make gcc libc6-dev libssl-dev
    "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR"
    "postgresql-$PG_MAJOR-cron" "postgresql-$PG_MAJOR-pgtap"
    perl libtap-parser-sourcehandler-pgtap-perl libipc-run-perl
)
# What only some of test.sh's suites need.
suites=" ${SUITES:-tap lint orms} "
[[ $suites != *" tap "* ]] || packages+=(pgbouncer faketime)
[[ $suites != *" lint "* ]] || packages+=(clang-tidy clang-format cppcheck)
[[ $suites != *" bench "* ]] || packages+=(python3-psycopg)
# npm may be there without Debian's package, with a Node that is newer.
if [[ $suites = *" orms "* ]]; then
    packages+=(python3-psycopg)
    command -v npm >/dev/null || packages+=(npm)
fi

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian machine; taking it that these are installed: ${packages[*]}" >&2
    exit 0
fi

# Only what is missing is named to apt, so that nothing installed is upgraded.
missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "deps: not installed: ${missing[*]}; as root, run: make deps" >&2
    exit 1
fi

# A new PostgreSQL would create and start a cluster of its own, a new pgbouncer
# itself; nobody asked for them.
conf=/etc/postgresql-common/createcluster.d/credits-deps.conf
policy=/usr/sbin/policy-rc.d
trap 'rm -f "$conf" "${policy_is_ours:-}"' EXIT
if [ ! -e "$policy" ]; then
    policy_is_ours=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
if ! installed "postgresql-$PG_MAJOR"; then
    mkdir -p "${conf%/*}"
    echo "create_main_cluster = false" >"$conf"
fi

echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt_get() {
    apt-get -qq -o DPkg::Lock::Timeout=400 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}
apt_get update || echo "deps: apt-get update failed; trying with the lists there are" >&2
log=$(mktemp)
if ! apt_get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    echo "deps: installation failed" >&2
    exit 1
fi
rm -f "$log"
