#!/usr/bin/env bash
# install.sh DIR: what the suite orms runs, from npm, in DIR: Node 22 (Debian's is
# older), the ORMs and TypeScript.  By npm's own configuration, as the caller; no
# package's install script is run.
set -euo pipefail

mkdir -p "$1"
cp "$(dirname "$0")"/{package.json,package-lock.json,schema-engine.mjs} "$1/"
cd "$1"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
