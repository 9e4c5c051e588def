#!/usr/bin/env bash
# TAP: the extension compiled and was installed; test.sh has done it.
. test/run/tap.sh

[ "$BUILD_STATUS" = 0 ]
ok $? "make install${WERROR:+, warnings being errors}"
grep -E -A 5 '(warning|error):' "$WORK/build.log" >&2
done_testing
