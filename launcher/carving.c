#include "carving.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "control.h"
#include "exact.h"
#include "path.h"

void fail(const struct carving *carving, const struct job *job, const char *reason) {
    give_up(carving->control, "%s is not protected as it should be: %s", job->path, reason);
}

void fail_errno(const struct carving *carving, const struct job *job) {
    fail(carving, job, errno == ELOOP ? "a symlink is on the way there" : strerror(errno));
}

struct stat look(const struct carving *carving, const struct job *job, int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0) {
        fail_errno(carving, job);
    }
    return st;
}

void check_identity(const struct carving *carving, const struct job *job, int fd) {
    struct stat st = look(carving, job, fd);
    if (!is_exactly(&job->identity, &st)) {
        fail(carving, job, "another file is there than before");
    }
}

int open_place(const struct carving *carving, const struct job *job) {
    int fd = open_without_links(AT_FDCWD, job->path);
    if (fd < 0) {
        fail_errno(carving, job);
    }
    return fd;
}

size_t number_of(const struct carving *carving, const struct job *job) {
    return (size_t)(job - carving->jobs->item);
}

bool is_bound(const struct job *job) {
    return job->kind == JOB_READ || job->kind == JOB_WRITE || job->kind == JOB_PIN || job->kind == JOB_AGAIN;
}

bool lies_in_filled(const struct job *job) {
    return job->above && (job->above->kind == JOB_NONE || job->above->kind == JOB_TMP);
}

bool holds_another(const struct carving *carving, const struct job *job) {
    size_t next = number_of(carving, job) + 1;
    return next < carving->jobs->count && path_below(carving->jobs->item[next].path, job->path);
}
