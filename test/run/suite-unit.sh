#!/usr/bin/env bash
# TAP: the pure core's own tests, without a server.  UNIT names some of them.
if ! compgen -G 'test/unit/*.c' >/dev/null; then
    echo "# no tests in test/unit" >&2
    exit 1
fi
exec make -s unit "UNIT=${UNIT:-}"
