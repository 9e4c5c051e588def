#!/usr/bin/env bash
# make bench: build this tree, start a private tuned server and run bench.pl
# on it.  What is compared, and the options, are in README.md.

# common.sh drops every PG... variable of the caller; this one is an option.
pgledger=${PGLEDGER:-}
. "$(dirname "$0")/../test/run/common.sh"

out=${BENCH_OUT:-$TREE/bench/results}
mkdir -p "$out"
out=$(cd "$out" && pwd)

suites=bench
need_deps
make_temp_install

# BENCH_BASE: that revision, in an installation of its own.
base=$WORK/base
base_bin=$base${PG_BIN#"$WORK"}
if [ -n "${BENCH_BASE:-}" ]; then
    mkdir -p "$base/tree"
    cp -a "$WORK/usr" "$base/usr"
    git -C "$TREE" -c safe.directory='*' archive "$BENCH_BASE" | tar -C "$base/tree" -xf - ||
        die "BENCH_BASE: there is no revision $BENCH_BASE"
    if [ "$(id -u)" = 0 ]; then
        chown -Rh postgres: "$base"
    fi
    build_in "$base/tree" "$base_bin" >"$WORK/build.log" 2>&1 || {
        tail -n 30 "$WORK/build.log" >&2
        die "the extension of $BENCH_BASE did not build"
    }
fi

build_extension || {
    tail -n 30 "$WORK/build.log" >&2
    die "the extension did not build"
}

# pgledger's SQL, if there is any, in the order in which it loads: what it
# needs first, its own file last.  Copied, because the unprivileged user may
# not be able to read the caller's folder.
if [ -n "$pgledger" ]; then
    [ -e "$pgledger/pgledger.sql" ] || die "no pgledger.sql in PGLEDGER=$pgledger"
    find "$pgledger" -name '*.sql' ! -path '*/example*' ! -path '*/test*' ! -name pgledger.sql |
        sort | while read -r file; do
            cat "$file"
            echo
        done >"$WORK/pgledger.sql"
    cat "$pgledger/pgledger.sql" >>"$WORK/pgledger.sql"
    chmod a+r "$WORK/pgledger.sql"
    export BENCH_PGLEDGER=$WORK/pgledger.sql
fi

# A quarter of the memory as buffers, between 256 MB and 2 GB; two servers
# share that.
memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null || true)
buffers=$((${memory:-1024} / 4))
[ "$buffers" -ge 256 ] || buffers=256
[ "$buffers" -le 2048 ] || buffers=2048
[ -z "${BENCH_BASE:-}" ] || buffers=$((buffers / 2))

# The settings of a server that is meant to be fast and safe: fsync and
# full_page_writes stay on.  No checkpoint falls into a run (the pages are
# newer than the last one, so nobody pays for full page images), and vacuum is
# run between rounds instead of at any moment.
settings=(
    "shared_buffers = ${buffers}MB"
    "effective_cache_size = $((buffers * 2))MB"
    "wal_buffers = 64MB"
    "max_wal_size = 16GB"
    "min_wal_size = 1GB"
    "checkpoint_timeout = 1h"
    "checkpoint_completion_target = 0.9"
    "max_connections = 300"
    "random_page_cost = 1.1"
    "work_mem = 64MB"
    "maintenance_work_mem = 256MB"
    "jit = off"
    "autovacuum = off"
    "track_functions = none"
)
# One more line per line of BENCH_CONF.
while IFS= read -r line; do
    [ -z "$line" ] || settings+=("$line")
done <<<"${BENCH_CONF:-}"

start_server "${settings[@]}"
if [ -n "${BENCH_BASE:-}" ]; then
    export BENCH_BASE_PORT=65433
    start_in "$base/server" "$base_bin" "$BENCH_BASE_PORT" "${settings[@]}"
fi
# For the stage "live": the same, with the library preloaded.
if [ -z "${BENCH_STAGES:-}" ] || [[ " $BENCH_STAGES " = *" live "* ]]; then
    export BENCH_LIVE_PORT=65434
    start_in "$WORK/live" "$PG_BIN" "$BENCH_LIVE_PORT" "${settings[@]}" "shared_preload_libraries = 'credits'"
fi
export PGDATABASE=postgres

mkdir "$WORK/bench"
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$WORK/bench"
fi
export BENCH_WORK=$WORK/bench
BENCH_SETTINGS=$(printf '%s\n' "${settings[@]}")
BENCH_REVISION=$(git -C "$TREE" -c safe.directory='*' describe --always --dirty 2>/dev/null || true)
export BENCH_SETTINGS BENCH_REVISION

# What there is of results is kept even if a part of the run failed.
status=0
run perl -I bench/lib bench/bench.pl || status=$?
for name in table.txt result.json chart.svg; do
    [ ! -e "$WORK/bench/$name" ] || cat "$WORK/bench/$name" >"$out/$name"
done
stop_server
[ -z "${BENCH_LIVE_PORT:-}" ] || as_user pg_ctl -D "$WORK/live" -m fast -s stop
[ -z "${BENCH_BASE:-}" ] || as_user pg_ctl -D "$base/server" -m fast -s stop
[ ! -e "$WORK/bench/result.json" ] || echo "results: $out (table.txt, result.json, chart.svg)"
exit "$status"
