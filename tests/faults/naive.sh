#!/bin/sh
# The launcher that the flip test must catch: looks whether a protected name is a link, then binds it by path, and
# leaves out what is missing. Usage: naive.sh WORKSPACE NAME... -- CMD...
set -eu
workspace=$1
shift
names=
while [ "$1" != -- ]; do
    names="$names $1"
    shift
done
shift
cd "$workspace"
for name in $names; do
    [ ! -L "$name" ] || exit 125
    [ ! -e "$name" ] || set -- --ro-bind "$workspace/$name" "$workspace/$name" "$@"
done
# The options stand before the command: the first word that is none ends them.
exec bwrap --unshare-user --unshare-pid --unshare-ipc --unshare-net --die-with-parent --ro-bind / / --dev /dev \
    --proc /proc --bind "$workspace" "$workspace" "$@"
