#!/usr/bin/env bash
# Writes docs/reports/live-queries.md: what the queries about usage, and the lists over
# all users, read and how long that takes, in a ledger that is made for it.
#
#   ACCOUNTS=1000000 ROWS=10 bench/live-queries.sh [FILE]
#
# ROWS: rows of history of each account.  FILE: another place for the report.
. "$(dirname "$0")/../test/run/common.sh"

accounts=${ACCOUNTS:-1000000}
rows=${ROWS:-10}
report=$(realpath "${1:-$TREE/docs/reports/live-queries.md}")

suites=tap
install_for_use
start_server "fsync = off" "shared_buffers = 2GB" "max_wal_size = 16GB" "wal_level = minimal" "max_wal_senders = 0" \
    "random_page_cost = 1.1" "work_mem = 64MB" "maintenance_work_mem = 1GB" "jit = off" "autovacuum = off" \
    "timezone = 'UTC'" "max_parallel_workers_per_gather = 0"
export PGDATABASE=postgres
as_user psql -qX -v ON_ERROR_STOP=1 -v "accounts=$accounts" -v "rows=$rows" -f bench/sql/live.sql
REVISION=$(git -C "$TREE" -c safe.directory='*' describe --always --dirty 2>/dev/null || true)
export REVISION ACCOUNTS=$accounts ROWS=$rows
as_user perl bench/live_queries.pl >"$WORK/report.md"
cat "$WORK/report.md" >"$report"
