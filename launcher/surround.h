/* What surrounds this process and explains why namespaces are refused; none of it is a gate by itself. */
#ifndef FLEETBOX_SURROUND_H
#define FLEETBOX_SURROUND_H

#include <stdbool.h>

/* The number in a small file; -1 when it is not there. */
long surround_setting(const char *path);

/* Whether a setting of /proc/sys/user is 0. `kind` as in max_<kind>_namespaces. */
bool surround_none_of(const char *kind);

/* The sandbox that this already runs in, by the mark that it leaves; NULL outside. */
const char *surround_sandbox(void);

/* The container engine around this machine, as far as it shows itself; NULL without. */
const char *surround_container(void);

/* A process in a chroot sees no mount at its own root, unless the tree is a mount itself. */
bool surround_chroot(void);

bool surround_gvisor(void);

/* SELinux enforces, and this process is a confined user's. */
bool surround_selinux(void);

/* The profile that AppArmor enforces on this program, which nothing but its own process shows; NULL without. */
const char *surround_apparmor(const char *program);

/* RHEL 7 before its administrator allowed user namespaces. */
bool surround_rhel7_off(void);

/* Any mount below /proc keeps the kernel from granting a fresh one, but for what covers an empty directory. */
bool surround_masks_proc(void);

#endif
