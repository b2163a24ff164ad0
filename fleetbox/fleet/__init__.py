"""The fleet: which hosts there are, by Ansible's own inventory and Ansible's own patterns."""
