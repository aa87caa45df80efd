#!/usr/bin/env bash
# two_nodes.sh COMMAND...: runs a command on two machines at once, and exits with the first code that is not 0.
#
# The machines are two network namespaces with a cable between them: node-a (10.77.0.1, NODE=0) and node-b (10.77.0.2,
# NODE=1). As Debian installs it, each knows itself as 127.0.1.1. They are gone when the script ends, however it ends.
set -eu
if [ "${1:-}" != inside ]; then
  exec unshare --net --pid --uts --mount --fork --kill-child --mount-proc "$0" inside "$@"
fi
shift

unshare --net --uts --mount sleep infinity &
other=$!
until [ "$(readlink /proc/$other/ns/mnt)" != "$(readlink /proc/$$/ns/mnt)" ]; do sleep 0.02; done
on_b() { nsenter --target "$other" --net --uts --mount -- env --chdir="$PWD" "$@"; }

ip link add cable-a type veth peer name cable-b netns "$other"
set_up='hostname "$1"; mount -t tmpfs none /mnt; printf "127.0.0.1 localhost\n127.0.1.1 %s\n%s\n" "$1" "$4" > /mnt/hosts
  mount --bind /mnt/hosts /etc/hosts; ip link set lo up; ip address add "$2/24" dev "$3"; ip link set "$3" up'
bash -c "$set_up" bash node-a 10.77.0.1 cable-a "10.77.0.2 node-b"
on_b bash -c "$set_up" bash node-b 10.77.0.2 cable-b "10.77.0.1 node-a"

NODE=1 on_b "$@" &
second=$!
NODE=0 "$@" || code=$?
wait "$second" || code=${code:-$?}
exit "${code:-0}"
