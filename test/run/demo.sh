#!/usr/bin/env bash
# make demo: the demonstration of test/demo, on a private throw-away server.
. "$(dirname "$0")/common.sh"

install_for_use
start_server
export PGDATABASE=demo
as_user createdb
run bash test/demo/run.sh
stop_server
