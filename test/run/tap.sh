# TAP for the shell: what the suites that are no TAP programs report with.
count=0
failed=0

# ok STATUS NAME [DIAGNOSTIC]
ok() {
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        failed=$((failed + 1))
        echo "not ok $count - $2"
        echo "# not ok: $2${3:+: $3}" >&2
    fi
}

done_testing() {
    echo "1..$count"
    exit $((failed > 0))
}

# pg_regress_tap OUTPUTDIR COMMAND...: run a pg_regress, here or inside make,
# and report one test for each of its tests and one for its exit status.  Its
# output was no TAP before PostgreSQL 16.
pg_regress_tap() {
    local outputdir=$1 log=$1/pg_regress.log status=0 verdict name
    shift
    mkdir -p "$outputdir"
    "$@" >"$log" 2>&1 || status=$?
    while read -r verdict name; do
        [ "$verdict" = ok ]
        ok $? "$name"
    done < <(sed -nE \
        -e 's/^(test)? +([^ ]+) +\.\.\. (ok|FAILED).*/\3 \2/p' \
        -e 's/^(not )?ok +[0-9]+ +[-+] +([^ ]+) .*/\1ok \2/p' "$log" | sed 's/^not ok/FAILED/')
    ok "$status" "pg_regress is content" "exit status $status"
    if [ "$failed" -gt 0 ]; then
        tail -n 15 "$log" >&2
        if [ -s "$outputdir/regression.diffs" ]; then
            head -n "${DIFF_LINES:-300}" "$outputdir/regression.diffs" >&2
        fi
    fi
}
