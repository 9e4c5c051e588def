#!/usr/bin/env bash
# The regression tests TESTS, by default all, against the server that PGHOST
# and PGPORT name.
. test/run/tap.sh

pg_regress_tap . make -s installcheck "PG_CONFIG=$PG_BIN/pg_config" with_llvm=no ${TESTS:+"REGRESS=$TESTS"}
done_testing
