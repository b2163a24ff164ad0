/* Which Windows Subsystem for Linux this kernel is, by the text of /proc/version. */
#ifndef FLEETBOX_WSL_H
#define FLEETBOX_WSL_H

/* 0: none, 1: WSL1, which has no user namespaces, 2: WSL2, a real kernel. */
int wsl_of(const char *version_text);
int wsl_here(void);

#endif
