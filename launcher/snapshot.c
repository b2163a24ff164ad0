#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bindfd.h"
#include "exact.h"
#include "listing.h"
#include "path.h"
#include "unseen.h"

#define SNAPSHOT "snapshot"

/* What is bound at a name. */
struct taken {
    const char *name;
    int source;
};

struct taking {
    const struct carving *carving;
    struct job *job;
    int from; /* the directory of the host */
    int to;   /* ours */
};

struct path {
    char text[PATH_LIMIT + NAME_MAX + 2];
};

static struct path path_of(const struct taking *taking, const char *name) {
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", taking->job->path, name);
    return path;
}

/* The first of those at the path: what is there may be bound, and a snapshot made of that. */
static struct job *job_at(const struct taking *taking, const char *name) {
    struct path path = path_of(taking, name);
    struct job *job = mountlist_around(taking->carving->jobs, path.text);
    if (!job || strcmp(job->path, path.text) != 0) {
        return NULL;
    }
    while (job->above && strcmp(job->above->path, path.text) == 0) {
        job = job->above;
    }
    return job;
}

static bool lies_directly_in(const struct job *job, const struct job *snapshot) {
    return job->above == snapshot && strchr(job->path + strlen(snapshot->path) + 1, '/') == NULL;
}

/* A part of the one around it, so that it needs no mount of its own. */
static bool is_part(const struct job *job) {
    return job->kind == JOB_SNAPSHOT && job->above && job->above->kind == JOB_SNAPSHOT && lies_directly_in(job, job->above);
}

static bool is_mask(const struct carving *carving, const struct job *job) {
    return job->kind == JOB_SOCKET || (job->kind == JOB_NONE && !holds_another(carving, job));
}

/* Then it is no second name, and whether it can be seen is a rule's to say. */
static bool is_mounted(const struct taking *taking, const char *name) {
    struct path path = path_of(taking, name);
    for (size_t i = 0; i < taking->carving->mounts.count; i++) {
        if (strcmp(taking->carving->mounts.item[i].path, path.text) == 0) {
            return true;
        }
    }
    return false;
}

/* A second name of a denied file, or one that it got since the launcher looked. */
static bool is_denied(const struct taking *taking, const char *name, const struct stat *st) {
    const struct jobs *jobs = taking->carving->jobs;
    for (size_t i = number_of(taking->carving, taking->job) + 1; i < jobs->count; i++) {
        const struct job *job = &jobs->item[i];
        if (!path_below(job->path, taking->job->path)) {
            return false;
        }
        if (job->kind == JOB_NONE && job->identity.known && is_exactly(&job->identity, st)) {
            return !is_mounted(taking, name);
        }
    }
    return false;
}

static void make(const struct taking *taking, const char *name, mode_t type, mode_t mode) {
    int failed = type == S_IFDIR ? mkdirat(taking->to, name, mode) : mknodat(taking->to, name, S_IFREG | mode, 0);
    if (failed) {
        fail_errno(taking->carving, taking->job);
    }
}

static void make_mask(const struct taking *taking, const char *name, const struct stat *st, struct job *job) {
    struct stat made;
    if (job && job->kind == JOB_NONE && !is_exactly(&job->identity, st)) {
        fail(taking->carving, job, "another file is there than before");
    }
    make(taking, name, st->st_mode & S_IFMT, 0);
    if (job) {
        if (fstatat(taking->to, name, &made, AT_SYMLINK_NOFOLLOW) != 0) {
            fail_errno(taking->carving, job);
        }
        job->shown = (struct identity){true, made.st_dev, made.st_ino};
    }
}

static void keep(const struct taking *taking, const char *name, int source) {
    struct job *job = taking->job;
    job->taken = mem_grow(job->taken, job->taken_count, &job->taken_room, sizeof *job->taken);
    job->taken[job->taken_count++] = (struct taken){mem_copy(name, strlen(name)), source};
}

/* Without asking a file server that may not answer. */
static bool see(int fd, struct stat *st) {
    struct statx seen;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &seen) != 0) {
        return (errno == ENOSYS || errno == EPERM) && fstat(fd, st) == 0;
    }
    *st = (struct stat){
        .st_dev = makedev(seen.stx_dev_major, seen.stx_dev_minor), .st_ino = seen.stx_ino, .st_mode = seen.stx_mode};
    return true;
}

/* What goes away, becomes a link, or lets nobody look at it, at this moment, is left out. */
static void take(const struct taking *taking, const char *name, struct job *own) {
    struct stat st;
    int source = bind_take(taking->from, name);
    if (source < 0 && errno != ENOENT && errno != EACCES) {
        fail_errno(taking->carving, taking->job);
    }
    if (source < 0 || !see(source, &st) || S_ISLNK(st.st_mode)) {
        close(source);
        return;
    }
    bool masked = own && is_mask(taking->carving, own);
    if (masked || (!own && is_denied(taking, name, &st))) {
        make_mask(taking, name, &st, own);
        close(source);
    } else {
        make(taking, name, st.st_mode & S_IFMT, 0755);
        keep(taking, name, source);
    }
}

static void take_link(const struct taking *taking, const char *name) {
    char target[PATH_LIMIT];
    ssize_t length = readlinkat(taking->from, name, target, sizeof target - 1);
    if (length < 0) {
        return;
    }
    target[length] = '\0';
    if (symlinkat(target, taking->to, name) != 0) {
        fail_errno(taking->carving, taking->job);
    }
}

static bool is_link(const struct taking *taking, const struct name *name) {
    struct stat st;
    if (name->type != DT_UNKNOWN) {
        return name->type == DT_LNK;
    }
    return fstatat(taking->from, name->text, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 && S_ISLNK(st.st_mode);
}

static bool take_name(void *context, const struct name *name) {
    const struct taking *taking = context;
    const char *text = name->text;
    if (strlen(text) > NAME_MAX) { /* as some file systems have, and ours not */
        return true;
    }
    struct job *own = job_at(taking, text);
    bool link = !own && is_link(taking, name);
    if (own && is_part(own)) {
        make(taking, text, S_IFDIR, 0700);
    } else if (own) {
        take(taking, text, own);
    } else if (is_unseen(taking->carving->jobs, taking->job, text, link)) {
        return true;
    } else if (link) {
        take_link(taking, text);
    } else {
        take(taking, text, NULL);
    }
    return true;
}

/* The launcher saw each of them here: one that has gone is now elsewhere perhaps, where nothing masks it. */
static void expect_masks(const struct taking *taking) {
    const struct jobs *jobs = taking->carving->jobs;
    for (size_t i = number_of(taking->carving, taking->job) + 1; i < jobs->count; i++) {
        const struct job *job = &jobs->item[i];
        if (!path_below(job->path, taking->job->path)) {
            return;
        }
        if (job->kind == JOB_NONE && is_mask(taking->carving, job) && lies_directly_in(job, taking->job) && !job->shown.known) {
            fail(taking->carving, job, "it is no longer there");
        }
    }
}

static int make_ours(const struct carving *carving, struct job *job) {
    size_t number = number_of(carving, job);
    int fd = is_part(job) ? openat(job->above->place, strrchr(job->path, '/') + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC)
             : scratch_make(&carving->scratch, SNAPSHOT, number) ? scratch_get(&carving->scratch, SNAPSHOT, number)
                                                                 : -1;
    if (fd < 0) {
        fail_errno(carving, job);
    }
    return fd;
}

/* As the host's, for programs that ask who else may write there; whose it is must not keep out who could read it. */
static void set_mode(const struct carving *carving, const struct job *job, const struct stat *st) {
    mode_t mode = (st->st_mode & 07777) | (st->st_uid == geteuid() ? 0 : S_IRUSR | S_IXUSR);
    int dir = openat(job->place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fchmod(dir, mode) != 0) {
        fail_errno(carving, job);
    }
    close(dir);
}

void snapshot_take(const struct carving *carving, struct job *job) {
    int place = open_place(carving, job);
    check_identity(carving, job, place);
    struct stat st = look(carving, job, place);
    struct taking taking = {carving, job, openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1};
    if (taking.from < 0) {
        fail_errno(carving, job);
    }
    job->place = taking.to = make_ours(carving, job);
    if (!each_name(taking.from, take_name, &taking)) {
        fail_errno(carving, job);
    }
    expect_masks(&taking);
    set_mode(carving, job, &st);
    close(taking.from);
    close(place);
}

static void put_all(const struct carving *carving, struct job *job, int dir) {
    for (size_t i = 0; i < job->taken_count; i++) {
        if (!bind_put(job->taken[i].source, dir, job->taken[i].name)) {
            fail_errno(carving, job);
        }
        close(job->taken[i].source);
    }
}

void snapshot_show(const struct carving *carving, struct job *job) {
    int dir = open_place(carving, job);
    if (!is_part(job)) {
        check_identity(carving, job, dir);
        if (!bind_fd(job->place, dir, false)) {
            fail_errno(carving, job);
        }
        close(dir);
        dir = open_place(carving, job);
    }
    struct stat st = look(carving, job, dir);
    job->shown = (struct identity){true, st.st_dev, st.st_ino};
    put_all(carving, job, dir);
    close(dir);
    close(job->place);
}
