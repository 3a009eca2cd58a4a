#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Proves that a fresh machine needs no preparation: a bare Debian root is made with debootstrap, the
# tree is cloned into it, and ./dev runs there. Needs root, debootstrap and a few minutes.
set -euo pipefail

usage()
{
    cat <<'END'
usage: run.sh [--worktree] [--keep] RELEASE [COMMAND]...

  RELEASE     bookworm or trixie
  COMMAND     what to run in the clone, one after the other (default: './dev build' './dev test')
  --worktree  take the files as they lie here, rather than the last commit
  --keep      leave the root behind, to look around in
END
}

worktree=no keep=no
while [[ ${1-} == --* ]]; do
    case $1 in
    --worktree) worktree=yes ;;
    --keep) keep=yes ;;
    --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
(($# >= 1)) || { usage >&2; exit 2; }
release=$1
shift
(($# > 0)) || set -- './dev build' './dev test'

((EUID == 0)) || { echo 'run.sh: debootstrap and chroot need root' >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y --no-install-recommends debootstrap

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# The mirror that serves this machine serves the new root too.
# shellcheck disable=SC2016  # the names are apt's, not ours
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' \
    'Origin: Debian' 'Label: Debian' | head -n 1)
[[ -n $mirror ]] || { echo 'run.sh: apt on this machine knows no Debian mirror' >&2; exit 1; }

root=$(mktemp -d --tmpdir "viaduct-clean-$release.XXXXXX")
chmod 755 "$root" # it becomes /, which is no secret to the users in it
# All that is mounted in the root is mounted in a namespace that has ended by then; should anything
# be left all the same, it stays untouched.
trap '[[ $keep == yes ]] || rm -rf --one-file-system "$root"' EXIT

echo "run.sh: a bare $release in $root"
debootstrap --variant=minbase "$release" "$root" "$mirror" >"$root.log" ||
    { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log"

# What an installer would have written.
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
# How this machine reaches the network: name servers, and certificates that an administrator added.
cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/usr/local/share/ca-certificates"
cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true

if [[ $worktree == yes ]]; then
    mkdir -p "$root/root/viaduct"
    git -C "$tree" ls-files -z --cached --others --exclude-standard |
        (cd "$tree" && while IFS= read -r -d '' file; do
            [[ ! -e $file ]] || printf '%s\0' "$file"
        done) | tar -C "$tree" --null -T - -c | tar -C "$root/root/viaduct" -x --no-same-owner
else
    git clone -q --no-hardlinks "$tree" "$root/root/viaduct"
fi

# in_root COMMAND: /dev is the one that debootstrap made, not this machine's. The root is mounted, so
# that what runs there may make mount namespaces of its own.
in_root()
{
    # shellcheck disable=SC2016  # the inner shell expands them
    unshare --mount --pid --ipc --fork --kill-child -- bash -euc '
        mount --bind "$1" "$1"
        mount -t proc proc "$1/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
        exec chroot "$1" env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" CI=true \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            bash -c "cd /root/viaduct && $2" </dev/null
        ' in_root "$root" "$1"
}

for command in "$@"; do
    printf '\nrun.sh: [%s] %s\n' "$release" "$command"
    in_root "$command"
done
printf '\nrun.sh: [%s] all of it went well\n' "$release"
