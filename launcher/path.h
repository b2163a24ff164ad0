/* Paths as text: comparing, nesting, joining. Nothing here looks at the file system. */
#ifndef FLEETBOX_PATH_H
#define FLEETBOX_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { PATH_LIMIT = 4096 }; /* with the final NUL, as the kernel counts */

/* Absolute, no empty, "." or ".." component, no trailing slash but for "/", no control byte, short enough. */
bool path_is_plain_absolute(const char *path);
bool path_is_plain_relative(const char *path);

/* The same with any byte in its names. */
bool path_is_relative(const char *path);

/* True for `path` == `dir` as well. Both canonical. */
bool path_at_or_below(const char *path, const char *dir);
bool path_below(const char *path, const char *dir);

/* Orders by components, so that a parent comes directly before everything below it. */
int path_compare(const char *a, const char *b);

/* In a list ordered by path_compare, whose elements of `size` bytes begin with their path: the innermost one at or
 * above `path`; NULL for none. */
const void *path_holder(const void *list, size_t count, size_t size, const char *path);

/* The directory that holds `path`; "/" for itself. */
const char *path_parent(const char *path);

/* DIR/NAME in the arena; refuses when it is too long. */
const char *path_join(const char *dir, const char *name);

#endif
