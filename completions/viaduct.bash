# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of viaduct for bash. Keys and listeners are asked of the program itself.

# Each key as SECTION.KEY=, as -o wants it.
_viaduct_keys()
{
    viaduct config 2>/dev/null | awk '
        /^\[/ { section = substr($0, 2, index($0, "]") - 2); next }
        / = / && section != "" && !seen[section "." $1]++ { print section "." $1 "=" }'
}

_viaduct_listeners()
{
    viaduct config 2>/dev/null | sed -n 's/^\[listen \(.*\)\]$/\1/p'
}

# Of the daemon that runs in the usual place.
_viaduct_ids()
{
    viaduct connections 2>/dev/null | awk 'NR > 1 && NF > 2 { print $1 }'
}

# Candidates, one a line, as COMPREPLY.
_viaduct_offer()
{
    local candidate
    while IFS= read -r candidate; do
        [[ $candidate != "$1"* ]] || COMPREPLY+=("$(printf '%q' "$candidate")")
    done
}

_viaduct()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='serve check config explain status rules connections kill reload'
    local command='' word
    COMPREPLY=()

    case $previous in
    -c)
        compopt -o default
        return
        ;;
    -o)
        if [[ $current != *=* ]]; then
            compopt -o nospace
            _viaduct_offer "${current//\\/}" < <(_viaduct_keys)
        fi
        return
        ;;
    -s)
        _viaduct_offer "$current" < <(printf '%s\n' unix:/run/viaduct/admin.sock 127.0.0.1:)
        compopt -o nospace
        return
        ;;
    --listener)
        _viaduct_offer "$current" < <(_viaduct_listeners)
        return
        ;;
    --method)
        mapfile -t COMPREPLY < <(compgen -W 'CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT' -- "$current")
        return
        ;;
    --client | --user | --time | --resolve) return ;;
    esac

    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ " $commands " != *" $word "* ]] || command=$word
    done

    if [[ $command == kill && $current != -* ]]; then
        _viaduct_offer "$current" < <(_viaduct_ids)
        return
    fi

    local words='-c -o'
    case $command in
    '') words="$commands -c -o --help -h --version -V" ;;
    config) words+=' --show-secrets' ;;
    explain)
        words+=' -s --client --user --method --listener --time --resolve --json'
        ;;
    status | rules | kill | reload) words+=' -s --json' ;;
    connections) words+=' -s --json --would-deny --close' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _viaduct viaduct
