#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "mem.h"
#include "path.h"
#include "refuse.h"

void entries_add(struct entries *entries, struct entry entry) {
    entries->item = mem_grow(entries->item, entries->count, &entries->room, sizeof *entries->item);
    entries->item[entries->count++] = entry;
}

struct entry entry_at(const struct resolved *place, enum access access, const char *why) {
    return (struct entry){
        .path = place->path,
        .access = access,
        .is_dir = S_ISDIR(place->st.st_mode),
        .dev = place->st.st_dev,
        .ino = place->st.st_ino,
        .why = why,
    };
}

/* Parent first; at one path the stronger access first, and a private directory before a bind of the host's. */
static int compare(const void *left, const void *right) {
    const struct entry *a = left;
    const struct entry *b = right;
    int order = path_compare(a->path, b->path);
    if (order == 0) {
        order = (int)b->access - (int)a->access;
    }
    if (order == 0) {
        order = (b->kind == ENTRY_TMP) - (a->kind == ENTRY_TMP);
    }
    return order ? order : (int)b->protects - (int)a->protects;
}

static void merge(struct entries *entries) {
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry *entry = &entries->item[i];
        if (kept && strcmp(entries->item[kept - 1].path, entry->path) == 0) {
            entries->item[kept - 1].protects |= entry->protects && entry->access == entries->item[kept - 1].access;
            continue;
        }
        entries->item[kept++] = *entry;
    }
    entries->count = kept;
}

/* True when the sandbox would be the same without `entry`, `above` being what decides around it. */
static bool changes_nothing(const struct entry *entry, const struct entry *above, bool visible) {
    if (entry->kind == ENTRY_TMP || entry->kind == ENTRY_LINK || entry->kind == ENTRY_DEVICE) {
        return false;
    }
    if (!above) {
        return visible ? entry->access == ACCESS_READ && entry->kind == ENTRY_BIND : entry->access == ACCESS_NONE;
    }
    switch (above->kind) {
        case ENTRY_TMP: /* empty: nothing of the host is there to hide */
            return entry->access == ACCESS_NONE || entry->kind == ENTRY_MISSING;
        case ENTRY_MISSING:
            return true;
        case ENTRY_BIND:
            return entry->access == above->access && entry->kind != ENTRY_MISSING;
        case ENTRY_DEVICE:
        case ENTRY_LINK:
            return true;
    }
    return false;
}

static void refuse_reopening(const struct entry *entry) {
    refuse("protected names win over write rules: take the rule out, or list the name under filesystem.unprotect",
           "the policy makes %s writable (%s) below a protected name", entry->path, entry->why);
}

static const struct entry *nearest(const struct entry *kept, size_t count, const char *path) {
    while (count > 0) {
        const struct entry *entry = &kept[--count];
        if (path_at_or_below(path, entry->path)) {
            return entry;
        }
    }
    return NULL;
}

const struct entry *entries_deciding(const struct entries *entries, const char *path) {
    return nearest(entries->item, entries->count, path);
}

static bool is_protected(const struct entries *entries, size_t before, const char *path) {
    for (size_t i = 0; i < before; i++) {
        if (entries->item[i].protects && path_below(path, entries->item[i].path)) {
            return true;
        }
    }
    return false;
}

static void mark_reopened(struct entry *kept, size_t count, const char *path) {
    for (size_t i = 0; i < count; i++) {
        if (kept[i].access == ACCESS_NONE && path_below(path, kept[i].path)) {
            kept[i].reopened = true;
        }
    }
}

void entries_order(struct entries *entries, const struct roots *roots, bool visible) {
    qsort(entries->item, entries->count, sizeof *entries->item, compare);
    merge(entries);
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry entry = entries->item[i];
        const struct root *root = roots_holding(roots, entry.path);
        entry.in_root = root && (strcmp(root->path, entry.path) != 0 || entry.access != ACCESS_WRITE);
        bool writable = entry.access == ACCESS_WRITE && entry.kind != ENTRY_DEVICE;
        if (writable && is_protected(entries, kept, entry.path)) {
            refuse_reopening(&entry);
        }
        if (changes_nothing(&entry, nearest(entries->item, kept, entry.path), visible)) {
            continue;
        }
        if (entry.access != ACCESS_NONE) {
            mark_reopened(entries->item, kept, entry.path);
        }
        entries->item[kept++] = entry;
    }
    entries->count = kept;
}
