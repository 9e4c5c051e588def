#!/usr/bin/env bash
# The data in the tree is what the generator makes, to the byte.
set -euo pipefail
cd "$(dirname "$0")"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
perl generate.pl "$made"
diff -rq data "$made" || {
    echo "test/demo/data is not what generate.pl makes; to renew it: perl test/demo/generate.pl test/demo/data" >&2
    exit 1
}
echo "test/demo/data is what generate.pl makes"
