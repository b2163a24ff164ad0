/* Canonical paths, with one rule of security: below a tree that a workload may write, no symlink is
 * followed. A planted link would let the next launch mount or create things elsewhere (CVE-2026-87766). */
#ifndef FLEETBOX_RESOLVE_H
#define FLEETBOX_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "mem.h"

/* The writable roots of this launch: directories bound read-write, canonical, outermost first. */
struct root {
    const char *path; /* first, for path_holder */
    dev_t dev;
    ino_t ino;
};

struct roots {
    struct root *item;
    size_t count;
    size_t room;
    struct strings *followed; /* when set: links that are followed are added */
    struct strings made; /* mountpoints of running sandboxes: directories that are there only for them, in order */
};

/* MISSING: `path` is canonical up to `missing_at`, the end of the first component that is not there. A
 * mountpoint of another sandbox counts as not there.
 * NOT_A_DIR: the same, but that component exists and is no directory.
 * INACCESSIBLE: this user cannot look there. */
enum found { FOUND, MISSING, NOT_A_DIR, INACCESSIBLE };

struct resolved {
    enum found found;
    const char *path;
    size_t missing_at;
    struct stat st;
};

void roots_add(struct roots *roots, const char *path, const struct stat *st);

/* The innermost writable root that holds `path`, itself included; NULL for none. */
const struct root *roots_holding(const struct roots *roots, const char *path);

/* True when a writable root lies above `path`. */
bool roots_above(const struct roots *roots, const char *path);

/* Resolves REST (relative, "" allowed) from the canonical directory BASE. Refuses a symlink that lies below
 * one of `roots`, naming it. */
struct resolved resolve_below(const char *base, const char *rest, const struct roots *roots);

/* The same from "/". */
struct resolved resolve(const char *path, const struct roots *roots);

/* Where a link may lie that does not belong to root: directly in these directories, any of them NULL. */
struct trust {
    const char *home[2];
};

/* The same for a place that becomes writable: a link is root's or lies directly in a home, or it is refused. Any
 * other may have been planted by the workload of another policy, to have this one open what it leads to. */
struct resolved resolve_trusted(const char *path, const struct roots *roots, const struct trust *trust);

/* Opens DIR/REL (O_PATH), DIR being canonical; no component may be a symlink. -1 and errno if it cannot. */
int open_beneath(int dir, const char *rel);

/* Whether another account has PATH, or where that cannot be seen, what holds it: what such a one has closed, no workload
 * of ours opens again. */
bool belongs_to_another(const char *path);

#endif
