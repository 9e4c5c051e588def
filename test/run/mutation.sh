#!/usr/bin/env bash
# make mutation: does the suite notice deliberate faults?  Everything happens in a
# private copy.  FAULTS selects some of test/mutation/faults.txt.
. "$(dirname "$0")/common.sh"

need_deps
make_temp_install
start_server "fsync = off"
status=0
# shellcheck disable=SC2086
run perl test/mutation/mutate.pl ${FAULTS:-} || status=$?
stop_server
exit "$status"
