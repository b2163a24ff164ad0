#include "parts.h"

#include "mem.h"
#include "path.h"

/* An entry and what lies around it. The list is sorted, so what lies above the next entry is a stack of these. */
struct frame {
    const struct entry *entry;
    const struct entry *granted; /* the nearest that bwrap makes, itself included */
    bool covered;                /* the inner stage mounts it, or something above it */
};

static bool is_writable(const struct entry *entry) {
    return entry && entry->kind == ENTRY_BIND && entry->access == ACCESS_WRITE;
}

/* A mount that is read-only or nodev when the inner stage gets it stays so: what must be writable, or a device, is
 * bwrap's, and so is all that can be seen only because of its entry. */
static unsigned makers(const struct entry *entry, const struct frame *above) {
    bool covered = above && above->covered;
    switch (entry->kind) {
        case ENTRY_MISSING:
        case ENTRY_PIN:
            return MADE_BY_INNER;
        case ENTRY_TMP:
        case ENTRY_LINK:
            return covered ? MADE_BY_INNER : MADE_BY_BWRAP;
        case ENTRY_DEVICE:
            return covered ? MADE_BY_BWRAP | MADE_BY_INNER : MADE_BY_BWRAP;
        case ENTRY_BIND:
            break;
    }
    if (entry->access == ACCESS_NONE) {
        return MADE_BY_INNER;
    }
    if (entry->access == ACCESS_READ) {
        return !covered && (!above || above->entry->kind == ENTRY_TMP) ? MADE_BY_BWRAP : MADE_BY_INNER;
    }
    if (above && is_writable(above->granted)) {
        return MADE_BY_INNER;
    }
    return covered ? MADE_BY_BWRAP | MADE_BY_INNER : MADE_BY_BWRAP;
}

void parts_divide(struct entries *entries) {
    struct frame *stack = mem_take((entries->count + 1) * sizeof *stack);
    size_t depth = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry *entry = &entries->item[i];
        while (depth && !path_below(entry->path, stack[depth - 1].entry->path)) {
            depth--;
        }
        const struct frame *above = depth ? &stack[depth - 1] : NULL;
        entry->made_by = makers(entry, above);
        stack[depth++] = (struct frame){
            .entry = entry,
            .granted = entry->made_by & MADE_BY_BWRAP ? entry : above ? above->granted : NULL,
            .covered = (above && above->covered) || (entry->made_by & MADE_BY_INNER),
        };
    }
}

void parts_leave_to_bwrap(struct entries *entries) {
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry entry = entries->item[i];
        struct stat st;
        if (entry.fleeting && lstat(entry.path, &st) != 0) {
            continue;
        }
        entry.made_by = MADE_BY_BWRAP;
        entries->item[kept++] = entry;
    }
    entries->count = kept;
}
