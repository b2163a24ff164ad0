/* Which names a glob leads through: `**`, `*` and `?`, as a set of positions in the pattern. */
#ifndef FLEETBOX_PATTERN_H
#define FLEETBOX_PATTERN_H

#include <stdbool.h>

enum { PATTERN_COMPONENTS = 32 };

struct pattern {
    const char *component[PATTERN_COMPONENTS + 1]; /* NULL-terminated */
};

/* Where in the pattern a directory may stand: bit i = component i is still to match. */
typedef unsigned long positions;

/* Refuses one with too many components. */
struct pattern pattern_split(const char *text);

/* Where the directory stands that the pattern is relative to. */
positions pattern_start(const struct pattern *pattern);

/* Where `name` stands in a directory that stands `at`; 0 when nothing can match in it. */
positions pattern_step(const struct pattern *pattern, positions at, const char *name);

/* True for what matches the whole pattern. */
bool pattern_is_complete(const struct pattern *pattern, positions at);

/* True for `**` and one component more. */
bool pattern_is_any_depth(const struct pattern *pattern);

#endif
