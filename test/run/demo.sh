#!/usr/bin/env bash
# make demo: the demonstration of test/demo, on a private throw-away server.
. "$(dirname "$0")/common.sh"

need_deps
make_temp_install
build_extension || {
    tail -n 30 "$WORK/build.log" >&2
    die "the extension did not build"
}
start_server
export PGDATABASE=demo
as_user createdb
run bash test/demo/run.sh
stop_server
