#!/bin/sh
# Pid 1 of a host with a kernel of its own until sshd or systemd takes over. The kernel hands its parameters of the form
# NAME=value on as environment; `reboot` runs through here again, on the same disk.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

hard=nosuid,nodev,noexec
mount -t proc -o $hard proc /proc
mount -t sysfs -o $hard sysfs /sys
mount -t securityfs -o $hard securityfs /sys/kernel/security
mount -t cgroup2 -o $hard cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mkdir /run/sshd /run/lock

# The first boot makes this host of its suite's image: name, keys, apt's proxy.
if [ ! -e /etc/ssh/ssh_host_ed25519_key ]; then
  tar --extract --file="$HOST_IDENTITY" --directory=/
fi
hostname --file /etc/hostname
ip link set lo up
ip addr add "$HOST_ADDRESS" dev eth0
ip link set eth0 up
ip route add default via "$HOST_GATEWAY"
# What an administrator has written down holds again after a reboot; the kernel need not know all of it.
sysctl --quiet --system >/dev/null 2>&1 || true
if [ -e /etc/apparmor.d/fleetbox-hosts.profile ]; then
  apparmor_parser --replace /etc/apparmor.d/fleetbox-hosts.profile
fi

# The harness's own door, for root and with the lab's key: what `exec` uses where there is no nsenter.
keys='PermitRootLogin=prohibit-password'
sshd() {
  env -i PATH="$PATH" HOME=/root TERM=linux /usr/sbin/sshd -h /etc/ssh/ssh_host_ed25519_key "$@"
}
sshd -p 2222 -o "$keys" -o AuthorizedKeysFile=/etc/ssh/harness_keys
if [ "$HOST_INIT" = systemd ]; then
  ln -s /dev/console /run/host.log
  exec env -i PATH="$PATH" HOME=/ TERM=linux /sbin/init
fi
exec env -i PATH="$PATH" HOME=/root TERM=linux /usr/sbin/sshd -D -e -h /etc/ssh/ssh_host_ed25519_key
