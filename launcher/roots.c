/* The writable roots of a launch: the workspace, a shared /tmp, and the directories of write rules. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "collect.h"
#include "places.h"

bool may_write(const struct launch *launch) {
    return launch->plan.mode == MODE_WORKSPACE_WRITE;
}

static void add_root(struct launch *launch, const char *wanted) {
    struct resolved place = find_writable(launch, wanted);
    refuse_everything(&place, "write");
    if (place.found == FOUND && S_ISDIR(place.st.st_mode) && !is_virtual(place.path)) {
        roots_add(&launch->roots, place.path, &place.st);
    }
}

static int by_length(const void *left, const void *right) {
    size_t a = strlen(*(const char *const *)left);
    size_t b = strlen(*(const char *const *)right);
    return (a > b) - (a < b);
}

static struct strings wanted_roots(const struct launch *launch) {
    struct strings wanted = {0};
    if (launch->plan.tmp == TMP_HOST) {
        strings_add(&wanted, "/tmp");
        strings_add(&wanted, "/var/tmp");
    }
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind == OP_RULE && strcmp(op->arg[0], "write") == 0) {
            strings_add(&wanted, expand(launch, op->arg[1]));
        }
    }
    return wanted;
}

/* Short paths first, so that a link inside one writable root cannot move another one. */
void collect_roots(struct launch *launch) {
    struct stat st;
    if (!may_write(launch)) {
        return;
    }
    if (launch->plan.workspace == WORKSPACE_WRITE && stat(launch->workspace, &st) == 0) {
        roots_add(&launch->roots, launch->workspace, &st);
    }
    struct strings wanted = wanted_roots(launch);
    if (wanted.count) {
        places_find_account(launch); /* links of which are trusted */
        qsort(wanted.item, wanted.count, sizeof *wanted.item, by_length);
    }
    for (size_t i = 0; i < wanted.count; i++) {
        add_root(launch, wanted.item[i]);
    }
}
