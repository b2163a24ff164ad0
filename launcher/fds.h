/* Descriptors nobody should inherit. */
#ifndef FLEETBOX_FDS_H
#define FLEETBOX_FDS_H

#include <stdbool.h>

/* 0, 1 and 2 exist afterwards and are files, pipes, terminals or the like, or the launch is refused; everything
 * above is closed. */
void fds_clean_start(void);

void close_on_exec_from(int first);

/* Moves a descriptor out of the way of the numbers that the sandbox inherits (control.h). */
int fd_high(int fd);

/* Says nothing about a file or a privilege: there was no room left. */
bool is_exhausted(int problem);

#endif
