#include "clones.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bindfd.h"
#include "control.h"
#include "exact.h"
#include "path.h"

enum clone { CLONE_WRITABLE, CLONE_READ_ONLY };
static const char *const clone_names[] = {"writable", "read-only"};

/* Writable mounts of bwrap's are the only ones that anything writable can be bound from. */
static struct job *granted_above(const struct job *job) {
    struct job *above = job->above;
    while (above && above->kind != HAS_WRITE && above->kind != JOB_AGAIN && above->kind != HAS_READ) {
        above = above->above;
    }
    return above && above->kind != HAS_READ ? above : NULL;
}

static enum clone clone_for(const struct job *job) {
    return job->kind == JOB_READ ? CLONE_READ_ONLY : CLONE_WRITABLE;
}

int clones_source(const struct job *job) {
    const struct job *granted = granted_above(job);
    if (job->kind == JOB_AGAIN || !granted) {
        return fcntl(job->source, F_DUPFD_CLOEXEC, 3);
    }
    const char *below = job->path + strlen(granted->path) + (granted->path[1] ? 1 : 0);
    return open_without_links(granted->clones.fd[clone_for(job)], below);
}

void clones_open_early(const struct carving *carving, struct job *job) {
    const struct job *granted = granted_above(job);
    if (job->kind == JOB_AGAIN || !granted) {
        job->source = open_place(carving, job);
        check_identity(carving, job, job->source);
    }
}

static bool is_read_below(const struct job *job, const struct job *granted) {
    while (job && job != granted && job->kind != JOB_READ) {
        job = job->above;
    }
    return job && job != granted;
}

/* What is mounted below a read-only directory is read-only as well. */
static void close_submounts(const struct carving *carving, const struct job *granted, int clone) {
    for (size_t i = 0; i < carving->mounts.count; i++) {
        const char *path = carving->mounts.item[i].path;
        if (!path_below(path, granted->path) || !is_read_below(mountlist_around(carving->jobs, path), granted)) {
            continue;
        }
        int fd = open_without_links(clone, path + strlen(granted->path) + 1);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) { /* another mount covers it */
            continue;
        }
        if (fd < 0 || (!is_read_only(fd) && !make_read_only(fd))) {
            give_up(carving->control, "cannot make %s read-only: %s", path, strerror(errno));
        }
        close(fd);
    }
}

static void clone_granted(const struct carving *carving, struct job *job, enum clone clone) {
    int place = scratch_make(&carving->scratch, clone_names[clone], number_of(carving, job))
                    ? scratch_get(&carving->scratch, clone_names[clone], number_of(carving, job))
                    : -1;
    int source = open_place(carving, job);
    check_identity(carving, job, source);
    if (place < 0 || !bind_fd(source, place, true)) {
        fail_errno(carving, job);
    }
    close(place);
    close(source);
    int fd = scratch_get(&carving->scratch, clone_names[clone], number_of(carving, job));
    if (fd < 0 || (clone == CLONE_READ_ONLY && !make_read_only(fd))) {
        fail_errno(carving, job);
    }
    if (clone == CLONE_READ_ONLY) {
        close_submounts(carving, job, fd);
    }
    job->clones.fd[clone] = fd;
}

void clones_make(const struct carving *carving) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        const struct job *job = &carving->jobs->item[i];
        struct job *granted = is_bound(job) && job->kind != JOB_AGAIN ? granted_above(job) : NULL;
        if (granted && !granted->clones.wanted[clone_for(job)]) {
            granted->clones.wanted[clone_for(job)] = true;
            clone_granted(carving, granted, clone_for(job));
        }
    }
}
