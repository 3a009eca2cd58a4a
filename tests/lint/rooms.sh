#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The house has rooms, one above the other: a folder of src/ includes only itself and those below
# it. And each library is known in one place only. This reads the #include lines and says where one
# reaches too far.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"

# shellcheck disable=SC2016  # that is awk's $0
find src -name '*.[ch]' -print0 | sort -z | xargs -0 awk '
    BEGIN {
        # Ground floor first. main.c stands on top of them all.
        count = split("base log io conf policy resolve http upstream proxy server", order)
        for (i = 1; i <= count; i++)
            floor_of[order[i]] = i

        # Which files may see a library, by its header.
        allowed["event2/"] = "^src/(io/|server/admin)"
        allowed["llhttp.h"] = "^src/http/h1_library\\.[ch]$"
        allowed["ini.h"] = "^src/conf/conf_parse\\.c$"
        allowed["idn2.h"] = "^src/policy/idn\\.c$"
        allowed["ares"] = "^src/resolve/dns_(cares|channel|reply)\\.c$"
        allowed["crypt.h"] = "^src/policy/auth_hash\\.c$"
    }

    function complain(what) {
        printf "%s:%d: %s\n", FILENAME, FNR, what
        bad = 1
    }

    FNR == 1 {
        room = FILENAME
        sub(/^src\//, "", room)
        here = count + 1
        if (sub(/\/.*/, "", room)) {
            if (!(room in floor_of)) {
                complain("src/" room "/ is not among the rooms")
                nextfile
            }
            here = floor_of[room]
        } else if (FILENAME != "src/main.c") {
            complain("only main.c lives outside the rooms")
        }
    }

    /^[ \t]*#[ \t]*include[ \t]*</ {
        header = $0
        gsub(/.*<|>.*/, "", header)
        for (library in allowed)
            if (index(header, library) == 1 && FILENAME !~ allowed[library] && \
                FILENAME !~ /version[^\/]*\.c$/)
                complain("<" header "> is not for this file, see " allowed[library])
    }

    /^[ \t]*#[ \t]*include[ \t]*"/ {
        header = $0
        sub(/^[^"]*"/, "", header)
        sub(/".*/, "", header)
        target = header
        if (header ~ /\.\./ || !sub(/\/.*/, "", target) || !(target in floor_of))
            complain("\"" header "\" does not name a room: write \"room/file.h\"")
        else if (floor_of[target] > here)
            complain("\"" header "\": " room " may not see " target ", which stands above it")
    }

    END { exit bad }
'
