#include "filled.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bindfd.h"
#include "clones.h"
#include "exact.h"
#include "mem.h"

#define FILLED "filled"

int filled_dir(const struct carving *carving, struct job *job) {
    size_t number = number_of(carving, job);
    if (!job->filled) {
        job->filled = true;
        if (!scratch_make(&carving->scratch, FILLED, number)) {
            fail_errno(carving, job);
        }
    }
    int fd = scratch_get(&carving->scratch, FILLED, number);
    if (fd < 0) {
        fail_errno(carving, job);
    }
    return fd;
}

void filled_make_fresh(const struct carving *carving, struct job *job) {
    int dir = filled_dir(carving, job);
    if (!mount_fresh(dir)) {
        fail_errno(carving, job);
    }
    close(dir);
}

/* The directories on the way to a mountpoint; ends with the one that is to hold it. */
static int make_way(const struct carving *carving, const struct job *job, int dir, const char **name) {
    const char *rest = job->path + strlen(job->above->path) + 1;
    for (const char *slash; (slash = strchr(rest, '/')); rest = slash + 1) {
        const char *part = mem_copy(rest, (size_t)(slash - rest));
        if (mkdirat(dir, part, 0755) != 0 && errno != EEXIST) {
            fail_errno(carving, job);
        }
        int next = open_without_links(dir, part);
        close(dir);
        if (next < 0) {
            fail_errno(carving, job);
        }
        dir = next;
    }
    *name = rest;
    return dir;
}

static bool is_directory(const struct carving *carving, const struct job *job) {
    if (job->kind == JOB_TMP || job->kind == JOB_MISSING || job->kind == JOB_NONE) {
        return true;
    }
    int fd = clones_source(job);
    if (fd < 0) {
        fail_errno(carving, job);
    }
    struct stat st = look(carving, job, fd);
    close(fd);
    return S_ISDIR(st.st_mode);
}

void filled_make_mountpoint(const struct carving *carving, const struct job *job) {
    const char *name;
    int dir = make_way(carving, job, filled_dir(carving, job->above), &name);
    int failed = job->kind == JOB_LINK           ? symlinkat(job->target, dir, name)
                 : is_directory(carving, job) ? mkdirat(dir, name, 0755)
                                              : mknodat(dir, name, S_IFREG | 0644, 0);
    if (failed && errno != EEXIST) {
        fail_errno(carving, job);
    }
    close(dir);
}

/* What is visible below a mask can be reached, and nothing else is said about it. */
void filled_close(const struct carving *carving) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        const struct job *job = &carving->jobs->item[i];
        if (job->kind == JOB_NONE && job->filled && !scratch_set_mode(&carving->scratch, FILLED, i, 0111)) {
            fail_errno(carving, job);
        }
    }
}
