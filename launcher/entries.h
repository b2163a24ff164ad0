/* The one ordered list: every bind, mask, protected name and device of a launch, and what decides between
 * them. The order of this list is the security of the sandbox. */
#ifndef FLEETBOX_ENTRIES_H
#define FLEETBOX_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "resolve.h"

/* Later wins at the same path. */
enum access { ACCESS_WRITE, ACCESS_READ, ACCESS_NONE };

enum entry_kind {
    ENTRY_BIND,    /* the host's file or directory, or a mask over it when the access is none */
    ENTRY_TMP,     /* a fresh private directory */
    ENTRY_MISSING, /* nothing is there: a mountpoint is made, and an empty read-only directory goes over it */
    ENTRY_DEVICE,  /* a device node that stays usable */
    ENTRY_LINK,    /* a symlink, recreated in a minimal root */
    ENTRY_PIN,     /* a writable directory on the way to a guarded one: only there so that it cannot be renamed */
};

struct entry {
    const char *path; /* first, for path_holder */
    enum access access;
    enum entry_kind kind;
    bool is_dir;
    bool protects;  /* a protected name: nothing below it may be opened for writing again */
    bool linked;    /* a file that has other names */
    bool secret;    /* denied by the policy: so is whatever gets this name later */
    bool fleeting;  /* a socket that the host may take away at any moment: then there is nothing to mask */
    bool narrows;   /* only takes away: opens nothing below a mask */
    bool in_root;   /* lies below a writable root: the inner stage verifies it */
    bool reopened;  /* a mask with something visible below it */
    bool pinned;    /* something guarded lies below: kept as a mount of its own, which nothing can rename */
    bool roams;     /* a match that the next launch finds wherever it is moved to: needs no pins */
    dev_t dev;
    ino_t ino;      /* 0 where there is nothing to pin */
    unsigned made_by; /* enum maker, of parts.h */
    const char *why;
    const char *target; /* ENTRY_LINK */
};

struct entries {
    struct entry *item;
    size_t count;
    size_t room;
};

void entries_add(struct entries *entries, struct entry entry);

/* The entry of a resolved path. */
struct entry entry_at(const struct resolved *place, enum access access, const char *why);

/* Sorts, merges, pins, drops what changes nothing, marks reopened masks. Refuses a writable entry below a protected
 * name. `visible` says whether what no entry covers can be seen (root: host) or not (root: minimal). */
void entries_order(struct entries *entries, const struct roots *roots, bool visible);

/* The entry that decides about `path` in an ordered list; NULL: the root does. */
const struct entry *entries_deciding(const struct entries *entries, const char *path);

#endif
