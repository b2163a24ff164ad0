#!/bin/sh
# ssh as Ansible calls it, inside the network in which the hosts of molecule's lab are.
exec nsenter --net=/var/tmp/fleetbox-lab-molecule/netns -- ssh "$@"
