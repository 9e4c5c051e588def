#!/usr/bin/env bash
# chroot.sh SUITE MAJOR DIR: a Debian SUITE in DIR with PostgreSQL MAJOR and all
# that "make test" needs.  Does nothing if it is there already.  Wants root.
#
# The mirror is the one that this machine's apt uses.
set -euo pipefail

suite=$1 major=$2 dir=$3
ready=$dir/.credits-ready

[ ! -e "$ready" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "chroot.sh: making a chroot needs root" >&2; exit 1; }

mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$2 !~ /-/ && !n++ { print $1 }')
[ -n "$mirror" ] || { echo "chroot.sh: apt has no Debian mirror" >&2; exit 1; }

# debootstrap knows a suite that is younger than itself by sid's recipe.
recipe=()
[ -e "/usr/share/debootstrap/scripts/$suite" ] || recipe=(sid)

rm -rf "$dir"
mkdir -p "$dir"
debootstrap --variant=minbase "$suite" "$dir" "$mirror" "${recipe[@]}"

# No server of the system's own, nothing started.
printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"
chmod +x "$dir/usr/sbin/policy-rc.d"
mkdir -p "$dir/etc/postgresql-common"
echo 'create_main_cluster = false' >"$dir/etc/postgresql-common/createcluster.conf"

# Mirrors are sometimes a snapshot of a while ago.
cat >"$dir/etc/apt/apt.conf.d/99credits" <<'END'
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Retries "3";
Acquire::Languages "none";
APT::Install-Recommends "false";
END

cp /etc/hosts "$dir/etc/hosts"
"${0%/*}/inside.sh" "$dir" env DEBIAN_FRONTEND=noninteractive MAJOR="$major" bash -euo pipefail -s <<'END'
apt-get -qq update
apt-get -qq -y -o Dpkg::Use-Pty=0 install make gcc libc6-dev libssl-dev tzdata-legacy \
    "postgresql-$MAJOR" "postgresql-$MAJOR-cron" "postgresql-$MAJOR-pgtap" pgbouncer faketime \
    perl libtap-parser-sourcehandler-pgtap-perl libipc-run-perl </dev/null

# The server's headers without what they depend on, LLVM and much else: the
# extension is built without it.  Nothing is installed with apt afterwards.
cd /tmp
apt-get -qq download libpq-dev "postgresql-server-dev-$MAJOR"
dpkg --force-depends -i ./*.deb
rm ./*.deb
apt-get clean
END
touch "$ready"
