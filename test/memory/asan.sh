#!/usr/bin/env bash
# make asan: the regression tests and the SQL fuzz (or the tests that TAP names) with
# the extension built with AddressSanitizer and UndefinedBehaviorSanitizer.  What is
# found ends the server process, so the tests fail; reports are printed.  The server
# itself is the installed one: what runs over a chunk of palloc's is not seen this
# way, but by valgrind.sh.
. "$(dirname "$0")/../run/common.sh"

need_deps
make_temp_install
build_extension COPT="-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined" || {
    tail -n 30 "$WORK/build.log" >&2
    die "the extension did not build"
}

# The sanitizer must be there before everything else.  A server that has it
# preloaded hangs, unless malloc is used before any other library starts up.
as_user gcc -shared -fPIC -Wl,-z,initfirst -x c - -o "$WORK/first.so" <<'END'
#include <stdlib.h>
__attribute__((constructor)) static void first(void) { free(malloc(1)); }
END
# In the program's stead, so that every server has it, those of the tests as well.
mv "$PG_BIN/postgres" "$PG_BIN/postgres-itself"
cat >"$PG_BIN/postgres" <<END
#!/bin/bash
export LD_PRELOAD="$(realpath "$(gcc -print-file-name=libasan.so)") $WORK/first.so"
export ASAN_OPTIONS=detect_leaks=0:log_path=$WORK/report UBSAN_OPTIONS=print_stacktrace=1:log_path=$WORK/report
exec -a "$PG_BIN/postgres" "$PG_BIN/postgres-itself" "\$@"
END
chmod +x "$PG_BIN/postgres"
start_server "fsync = off" "max_connections = 40"
grep -q libasan "/proc/$(head -n 1 "$WORK/server/postmaster.pid")/maps" || die "the server runs without the sanitizer"

status=0
run timeout "${ASAN_TIMEOUT:-1800}" test/memory/regress.sh || status=$?
stop_server || status=1
# shellcheck disable=SC2086
run_prove ${TAP:-test/t/072_fuzz.pl} || status=$?
for report in "$WORK"/report.*; do
    [ -e "$report" ] || continue
    head -n 40 "$report" >&2
    status=1
done
exit "$status"
