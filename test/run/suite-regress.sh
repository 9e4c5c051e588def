#!/usr/bin/env bash
# TAP: "make installcheck", against a server of its own.
. test/run/tap.sh

pg_regress_tap . make -s installcheck "PG_CONFIG=$PG_BIN/pg_config" with_llvm=no \
    EXTRA_REGRESS_OPTS="--temp-instance=$TMPDIR/regress"
[ "$count" -gt 1 ]
ok $? "the Makefile's REGRESS lists tests"

for file in sql/*.sql; do
    name=$(basename "$file" .sql)
    case $name in *--*) continue ;; esac
    grep -Eq "(^|[^[:alnum:]_-])$name( |$)" pg_regress.log
    ok $? "$file is listed in REGRESS"
done
done_testing
