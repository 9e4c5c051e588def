#!/usr/bin/env bash
# TAP: the version is the same wherever it is written.
cd "$(dirname "$0")/../.." || exit 1
. test/run/tap.sh

version=$(sed -n 's/^EXTVERSION *= *//p' Makefile)

same() {
    [ "$2" = "$version" ]
    ok $? "$1 says $version" "it says '$2'"
}

[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]
ok $? "the Makefile has a version" "EXTVERSION is '$version'"
same credits.control "$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" credits.control)"
same "META.json, everywhere but in its meta-spec," \
    "$(sed '/"meta-spec"/,/}/d' META.json | sed -n 's/.*"version" *: *"\([^"]*\)".*/\1/p' | uniq)"
same "META.json's file" \
    "$(sed -n 's|.*"file" *: *"sql/credits--\(.*\)\.sql".*|\1|p' META.json)"
same "the first entry of CHANGELOG.md" "$(sed -n 's/^## *\([^ ]*\).*/\1/p' CHANGELOG.md | head -n 1)"
[ -f "sql/credits--$version.sql" ]
ok $? "there is a sql/credits--$version.sql" "there is: $(echo sql/credits--*.sql)"
done_testing
