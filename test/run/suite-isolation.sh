#!/usr/bin/env bash
# TAP: the isolation tests, against a server of their own.  SPECS selects some of them,
# which are then run against the server that PGHOST names.
. test/run/tap.sh

read -ra specs <<<"${SPECS:-}"
[ ${#specs[@]} != 0 ] || for file in test/isolation/specs/*.spec; do
    [ ! -e "$file" ] || specs+=("$(basename "$file" .spec)")
done
if [ ${#specs[@]} = 0 ]; then
    ok 1 "no tests in test/isolation/specs"
    done_testing
fi

# Every spec drops the extension at its end, accounts or not.
server=()
if [ -n "${SPECS:-}" ]; then
    export PGOPTIONS="-c credits.allow_drop=on"
else
    echo "credits.allow_drop = on" >"$TMPDIR/isolation.conf"
    server=("--temp-instance=$TMPDIR/isolation" "--temp-config=$TMPDIR/isolation.conf")
fi
export PGISOLATIONTIMEOUT=${PGISOLATIONTIMEOUT:-60}
pg_regress_tap output_iso "$PG_TEST/isolation/pg_isolation_regress" \
    --inputdir=test/isolation --outputdir=output_iso --bindir="$PG_BIN" \
    "${server[@]}" --dbname=isolation_regression \
    --encoding=UTF8 --no-locale --load-extension=credits "${specs[@]}"
[ "$count" = $((${#specs[@]} + 1)) ]
ok $? "all ${#specs[@]} specs were run"
done_testing
