#!/usr/bin/env bash
# build-server.sh MAJOR DIR: in DIR, a PostgreSQL that finds memory errors: from
# Debian's source package, with assertions (which also clobber freed memory and
# check what lies behind every chunk) and, for valgrind, told where palloc's
# chunks end.  Does nothing if it is there already.  Ten minutes on two cores.
set -euo pipefail

major=$1 dir=$2
[ ! -x "$dir/bin/postgres" ] || exit 0
for need in valgrind pkg-config; do
    command -v "$need" >/dev/null || { echo "build-server.sh: needs $need (and libicu-dev)" >&2; exit 1; }
done

read -r mirror release < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$2 !~ /-/ { print; exit }')
[ -n "${mirror:-}" ] || { echo "build-server.sh: apt has no Debian mirror" >&2; exit 1; }

# The source package, by lists of our own.
mkdir -p "$dir/build/lists/partial"
cd "$dir/build"
echo "deb-src $mirror $release main" >sources.list
apt=(apt-get -qq -o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$PWD/lists" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" source --download-only "postgresql-$major"
tar -xf postgresql-*.orig.tar.*

cd postgresql-"$major".*/
./configure --quiet --prefix="$dir" --enable-cassert --enable-debug --with-openssl --with-icu \
    --without-readline --without-zlib CPPFLAGS=-DUSE_VALGRIND CFLAGS="-O1 -g"
make -s -j2 -C src all
make -s -C src install
make -s -C contrib/amcheck install
cp src/tools/valgrind.supp "$dir/"
cd "$dir"
rm -rf "$dir/build"
