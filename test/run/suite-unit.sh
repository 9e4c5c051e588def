#!/usr/bin/env bash
# TAP: the pure core's own tests, without a server.  UNIT names some of them;
# UNIT_LOG is a file that gets the output too.
if ! compgen -G 'test/unit/*.c' >/dev/null; then
    echo "# no tests in test/unit" >&2
    exit 1
fi
set -o pipefail
make -s unit "UNIT=${UNIT:-}" | tee "${UNIT_LOG:-/dev/null}"
