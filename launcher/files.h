/* Files the launch trusts: the launch plan, its filters, this program. Each is opened once, its owner and
 * mode are checked on the descriptor, and from then on only the descriptor is used. */
#ifndef FLEETBOX_FILES_H
#define FLEETBOX_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "plan.h"

enum { FILTER_UNIX, FILTER_NOUNIX, FILTER_ALONE, FILTERS };

struct trusted {
    const char *plan_dir;     /* canonical; masked in the sandbox when the plan is the caller's own */
    bool managed;             /* from the store of this host, not from --plan */
    int filter[FILTERS];      /* -1 where the launch plan has none for this architecture */
    const char *filter_path[FILTERS];
    int self;                 /* this program */
    const char *self_path;
};

/* The canonical path behind a descriptor; refuses when there is none. */
const char *fd_path(int fd);

/* Opens and parses. `file` is --plan's argument or NULL; `policy` is --policy's or NULL. */
void files_open(struct trusted *trusted, struct plan *plan, const char *file, const char *policy);

/* What a refusal calls a file, what it advises, and how long the file may be. */
struct wanted {
    const char *what;
    const char *hint;
    size_t limit;
};

/* The whole file NAME in DIR, which root alone may be able to write, or with `managed` false its owner; NULL where it or
 * its directory does not exist. */
char *files_read(const char *dir, const char *name, const struct wanted *wanted, bool managed, size_t *length);

/* Reads the whole file, at most `limit` bytes; refuses what is longer. The result is NUL-terminated. */
char *read_limited(int fd, size_t limit, size_t *length, const char *what);

#endif
