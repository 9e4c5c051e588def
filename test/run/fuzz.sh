#!/usr/bin/env bash
# make fuzz: libFuzzer over the pure core; no PostgreSQL needed.  Each target of
# test/fuzz/fuzz_*.c runs for FUZZ_SECONDS (60), TARGETS selects some of them.
# FUZZ_CORPUS: a folder that keeps what was found interesting, for the next time.
set -euo pipefail
cd "$(dirname "$0")/../.."

CC=${CLANG:-clang}
command -v "$CC" >/dev/null || {
    echo "make fuzz needs clang and its libFuzzer: apt-get install clang libclang-rt-14-dev" >&2
    exit 1
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
seconds=${FUZZ_SECONDS:-60}
targets=${TARGETS:-$(basename -s .c test/fuzz/fuzz_*.c | sed 's/^fuzz_//')}
status=0

for target in $targets; do
    "$CC" -std=c11 -O1 -g -Wall -Wextra -Werror -Isrc \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
        "test/fuzz/fuzz_$target.c" test/fuzz/input.c test/unit/world.c test/unit/checks.c \
        test/unit/zones.c src/core/*.c -o "$dir/$target"
    corpus=${FUZZ_CORPUS:-$dir/corpus}/$target
    mkdir -p "$corpus"
    seeds=()
    if [ -d "test/fuzz/seeds/$target" ]; then
        seeds=("test/fuzz/seeds/$target")
    fi
    if "$dir/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        ${FUZZ_SEED:+-seed="$FUZZ_SEED"} -artifact_prefix="$dir/$target." "$corpus" "${seeds[@]}" \
        >"$dir/$target.log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$target.log") inputs," \
            "seed $(sed -n 's/^INFO: Seed: *//p' "$dir/$target.log")," \
            "coverage $(grep -oE 'cov: [0-9]+' "$dir/$target.log" | tail -n 1 | grep -oE '[0-9]+') edges: ok"
    else
        status=1
        echo "$target: FAILED"
        tail -n 40 "$dir/$target.log"
        for file in "$dir/$target".crash-* "$dir/$target".timeout-* "$dir/$target".oom-*; do
            [ ! -e "$file" ] || echo "the input, in base64: $(base64 -w 0 "$file")"
        done
    fi
done
exit "$status"
