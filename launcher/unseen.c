#include "unseen.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "path.h"
#include "pattern.h"

static bool is_listed(const struct later_jobs *later, const char *path, bool is_link) {
    const struct job *job = path_holder(later->item, later->count, sizeof *later->item, path);
    bool same = job && strcmp(job->path, path) == 0;
    return same && (job->kind == LATER_NAME || (job->kind == LATER_LINK && !is_link));
}

/* PATH, below the base of the pattern; a match that the launcher has seen has a job of its own. */
static bool matches(const struct job *glob, const char *path) {
    struct pattern pattern = pattern_split(glob->target);
    positions at = pattern_start(&pattern);
    const char *rest = path + (glob->path[1] ? strlen(glob->path) : 0);
    while (at && *rest == '/') {
        size_t length = strcspn(rest + 1, "/");
        at = pattern_step(&pattern, at, mem_copy(rest + 1, length));
        rest += length + 1;
    }
    return pattern_is_complete(&pattern, at);
}

static bool matches_any(const struct later_jobs *later, const char *path) {
    char *start = mem_take(0);
    bool found = false;
    for (size_t i = 0; !found && i < later->count; i++) {
        const struct job *job = &later->item[i];
        found = job->kind == LATER_GLOB && path_below(path, job->path) && matches(job, path);
        mem_trim(start, 0); /* each name asks */
    }
    return found;
}

bool is_unseen(const struct jobs *jobs, const struct job *snapshot, const char *name, bool is_link) {
    char path[PATH_LIMIT + NAME_MAX + 2];
    for (size_t i = 0; i < jobs->count; i++) { /* one directory may be shown at several places */
        const struct job *job = &jobs->item[i];
        if (job->kind != JOB_SNAPSHOT || job->identity.dev != snapshot->identity.dev ||
            job->identity.ino != snapshot->identity.ino) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", job->path, name);
        if (is_listed(&jobs->later, path, is_link) || matches_any(&jobs->later, path)) {
            return true;
        }
    }
    return false;
}
