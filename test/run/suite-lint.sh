#!/usr/bin/env bash
# TAP: gcc -fanalyzer, clang-tidy and cppcheck have nothing to say about src/, and
# clang-format would not change it.  What they are not asked, and why, is in .clang-tidy,
# .clang-format and here.
. test/run/tap.sh

flags=(-std=gnu99 -D_GNU_SOURCE -Isrc -isystem "$("$PG_BIN/pg_config" --includedir-server)")
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# each NAME COMMAND...: the command with every file of PATTERN for {}, two at a time.
PATTERN='*.c'
each() {
    local status=0
    find src -name "$PATTERN" | sort | xargs -P2 -I{} "${@:2}" >"$log" 2>&1 || status=$?
    ok "$status" "$1"
    [ "$status" = 0 ] || grep -v "warnings* generated" "$log" | head -n 100 >&2
}

each "gcc -fanalyzer" gcc "${flags[@]}" -O1 -Wall -Wextra -Werror -fanalyzer -c {} -o /dev/null
each "clang-tidy" clang-tidy --quiet {} -- "${flags[@]}"

# It sees no header of the server's, so one macro of theirs is told.
each "cppcheck" cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
    --inline-suppr -Isrc "-Dforeach(cell,list)=while ((cell = next(list)))" {}

PATTERN='*.[ch]' each "clang-format" clang-format --dry-run -Werror {}
done_testing
