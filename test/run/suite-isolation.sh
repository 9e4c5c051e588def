#!/usr/bin/env bash
# TAP: the isolation tests, against a server of their own.
. test/run/tap.sh

specs=()
for file in test/isolation/specs/*.spec; do
    [ ! -e "$file" ] || specs+=("$(basename "$file" .spec)")
done
if [ ${#specs[@]} = 0 ]; then
    ok 1 "no tests in test/isolation/specs"
    done_testing
fi

# Every spec drops the extension at its end, accounts or not.
echo "credits.allow_drop = on" >"$TMPDIR/isolation.conf"
export PGISOLATIONTIMEOUT=${PGISOLATIONTIMEOUT:-60}
pg_regress_tap output_iso "$PG_TEST/isolation/pg_isolation_regress" \
    --inputdir=test/isolation --outputdir=output_iso --bindir="$PG_BIN" \
    --temp-instance="$TMPDIR/isolation" --temp-config="$TMPDIR/isolation.conf" --dbname=isolation_regression \
    --encoding=UTF8 --no-locale --load-extension=credits "${specs[@]}"
[ "$count" = $((${#specs[@]} + 1)) ]
ok $? "all ${#specs[@]} specs were run"
done_testing
