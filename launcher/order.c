#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
        .linked = S_ISREG(place->st.st_mode) && place->st.st_nlink > 1,
        .dev = place->st.st_dev,
        .ino = place->st.st_ino,
        .why = why,
    };
}

/* Parent first; at one path the stronger access first, a private directory before a bind of the host's, a pin last. */
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
    if (order == 0) {
        order = (a->kind == ENTRY_PIN) - (b->kind == ENTRY_PIN);
    }
    return order ? order : (int)b->protects - (int)a->protects;
}

static void sort(struct entries *entries) {
    qsort(entries->item, entries->count, sizeof *entries->item, compare);
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        struct entry *same = kept ? &entries->item[kept - 1] : NULL;
        if (same && strcmp(same->path, entry->path) == 0) {
            same->protects |= entry->protects && entry->access == same->access;
            same->secret |= entry->secret;
            same->fleeting &= entry->fleeting;
            same->narrows &= entry->narrows;
            same->pinned |= entry->pinned && same->kind == ENTRY_BIND && same->access == ACCESS_WRITE;
            continue;
        }
        entries->item[kept++] = *entry;
    }
    entries->count = kept;
}

static void add_pin(struct entries *entries, const char *path) {
    struct resolved place = {.found = FOUND, .path = path};
    if (lstat(path, &place.st) != 0 || !S_ISDIR(place.st.st_mode)) {
        refuse("start again", "%s changed while the sandbox was being prepared", path);
    }
    struct entry pin = entry_at(&place, ACCESS_WRITE, "cannot be renamed: what lies below is guarded");
    pin.kind = ENTRY_PIN;
    pin.pinned = true;
    entries_add(entries, pin);
}

static bool is_guarded(const struct entry *entry) {
    return (entry->access != ACCESS_WRITE || entry->kind == ENTRY_MISSING) && !entry->roams;
}

/* A mount follows its directory when a directory above is renamed, and the next launch would find nothing to
 * guard at the old path. So what leads to a guarded path becomes a mount itself: renaming one gives EBUSY. */
static void add_pins(struct entries *entries, const struct roots *roots) {
    const char *before = "";
    size_t count = entries->count;
    for (size_t i = 0; i < count; i++) {
        const char *path = entries->item[i].path;
        if (!roots_holding(roots, path) || !is_guarded(&entries->item[i])) {
            continue;
        }
        const char *above = path_parent(path);
        while (roots_above(roots, above) && !path_below(before, above)) {
            add_pin(entries, above);
            above = path_parent(above);
        }
        before = path;
    }
    if (entries->count > count) {
        sort(entries);
    }
}

/* True when the sandbox would be the same without `entry`, `above` being what decides around it. */
static bool changes_nothing(const struct entry *entry, const struct entry *above, bool visible) {
    if (entry->kind == ENTRY_TMP || entry->kind == ENTRY_DEVICE) {
        return false;
    }
    if (entry->kind == ENTRY_LINK) { /* making one that is visible anyway would fail */
        return above ? above->access != ACCESS_NONE && above->kind != ENTRY_TMP : visible;
    }
    if (entry->kind == ENTRY_PIN) { /* anywhere else it would reopen what is closed */
        return !above || above->access != ACCESS_WRITE || (above->kind != ENTRY_BIND && above->kind != ENTRY_PIN);
    }
    if (!above) {
        return visible ? entry->access == ACCESS_READ && entry->kind == ENTRY_BIND : entry->access == ACCESS_NONE;
    }
    if ((above->access == ACCESS_NONE && entry->narrows) || (above->access != ACCESS_WRITE && entry->kind == ENTRY_MISSING)) {
        return true;
    }
    switch (above->kind) {
        case ENTRY_TMP: /* empty: nothing of the host is there to hide */
            return entry->access == ACCESS_NONE || entry->kind == ENTRY_MISSING;
        case ENTRY_MISSING:
            return true;
        case ENTRY_BIND:
        case ENTRY_PIN:
            return entry->access == above->access && entry->kind != ENTRY_MISSING && !entry->pinned;
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

const struct entry *entries_deciding(const struct entries *entries, const char *path) {
    return path_holder(entries->item, entries->count, sizeof *entries->item, path);
}

/* The next one outwards. */
static struct entry *above(const struct entries *kept, const char *path) {
    if (strcmp(path, "/") == 0) {
        return NULL;
    }
    const char *parent = path_parent(path);
    return (struct entry *)path_holder(kept->item, kept->count, sizeof *kept->item, parent);
}

static bool is_protected(const struct entries *kept, const char *path) {
    const struct entry *entry = above(kept, path);
    while (entry && !entry->protects) {
        entry = above(kept, entry->path);
    }
    return entry;
}

static void mark_reopened(const struct entries *kept, const char *path) {
    for (struct entry *entry = above(kept, path); entry; entry = above(kept, entry->path)) {
        entry->reopened |= entry->access == ACCESS_NONE;
    }
}

void entries_order(struct entries *entries, const struct roots *roots, bool visible) {
    sort(entries);
    add_pins(entries, roots);
    struct entries kept = {.item = entries->item};
    for (size_t i = 0; i < entries->count; i++) {
        struct entry entry = entries->item[i];
        const struct root *root = roots_holding(roots, entry.path);
        entry.in_root = root && (strcmp(root->path, entry.path) != 0 || entry.access != ACCESS_WRITE);
        bool writable = entry.access == ACCESS_WRITE && entry.kind != ENTRY_DEVICE && entry.kind != ENTRY_PIN;
        if (writable && is_protected(&kept, entry.path)) {
            refuse_reopening(&entry);
        }
        if (changes_nothing(&entry, above(&kept, entry.path), visible)) {
            continue;
        }
        if (entry.access != ACCESS_NONE) {
            mark_reopened(&kept, entry.path);
        }
        kept.item[kept.count++] = entry;
    }
    entries->count = kept.count;
}
