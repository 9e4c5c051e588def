#!/usr/bin/env bash
# make valgrind: the regression tests on a server that finds memory errors
# (build-server.sh).  First all of them with its assertions, and the SQL fuzz (or the
# tests that TAP names); then, the server being run by valgrind, those that
# VALGRIND_TESTS names, by default some of each kind of call.  "all" takes hours.
#
#   VALGRIND_DIR=DIR   where that server is, or is built: by default, and without
#                      KEEP=1 removed at the end, /tmp/credits-valgrind
. "$(dirname "$0")/../run/common.sh"

tests=${VALGRIND_TESTS:-install deduct idempotency hold refund reset_run}
keep=${KEEP:-}
KEEP=

ASSERTIONS=1 install_for_use

status=0
echo "assertions: all tests"
start_server "fsync = off"
run test/memory/regress.sh || status=$?
stop_server || status=1
# shellcheck disable=SC2086
run_prove ${TAP:-test/t/072_fuzz.pl} || status=$?

echo "valgrind: $tests"
cat >"$WORK/postgres" <<END
#!/bin/sh
exec valgrind --quiet --trace-children=yes --track-origins=yes --error-exitcode=99 \
    --suppressions=$VALGRIND_DIR/valgrind.supp --log-file=$WORK/report.%p $PG_BIN/postgres "\$@"
END
chmod +x "$WORK/postgres"
mv "$WORK/server.log" "$WORK/server-assertions.log"
rm -rf "$WORK/server" "$WORK/socket"
SERVER_PROGRAM=$WORK/postgres
SERVER_ENV=(PGCTLTIMEOUT=600)
start_server "fsync = off" "jit = off" "autovacuum = off"
[ "$tests" != all ] || tests=
TESTS=${tests:+setup $tests} run test/memory/regress.sh || status=$?
stop_server || status=1

# What either said.
if grep -Eh 'TRAP:|terminated by signal|WARNING:  (problem in|detected write)' "$WORK"/server*.log tmp_check/log/*.log >&2; then
    status=1
fi
for report in "$WORK"/report.*; do
    [ -s "$report" ] || continue
    head -n 40 "$report" >&2
    status=1
done
if [ "$keep" != 1 ]; then
    rm -rf "${VALGRIND_DIR:?}"/{bin,include,lib,share,valgrind.supp}
    rmdir --ignore-fail-on-non-empty "$VALGRIND_DIR"
fi
exit "$status"
