/* Small files, as /proc and /sys have them. */
#ifndef FLEETBOX_SMALL_H
#define FLEETBOX_SMALL_H

#include <stddef.h>
#include <sys/types.h>

/* The beginning of one, ended by a NUL; "" and a negative length where it cannot be read. */
ssize_t small_read(int dir, const char *path, char *text, size_t size);

/* The same of what lists our children, as numbers with blanks between. */
ssize_t small_read_children(char *text, size_t size);

#endif
