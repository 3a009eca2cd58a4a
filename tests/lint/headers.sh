#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# headers.sh HEADER...: each must compile with nothing included before it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

status=0
for header in "$@"; do
    gcc -std=c17 -D_GNU_SOURCE -Isrc -fsyntax-only -x c -include "$header" /dev/null || status=1
done
exit "$status"
