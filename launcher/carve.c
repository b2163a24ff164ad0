#include "carve.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "arrived.h"
#include "bindfd.h"
#include "carving.h"
#include "clones.h"
#include "control.h"
#include "exact.h"
#include "fds.h"
#include "filled.h"
#include "refuse.h"
#include "snapshot.h"

static void verify_granted(const struct carving *carving, const struct job *job) {
    int fd = open_place(carving, job);
    check_identity(carving, job, fd); /* not known of a fresh directory */
    if (job->kind == HAS_READ && !is_read_only(fd)) {
        fail(carving, job, "it is not read-only");
    }
    close(fd);
}

/* A printed command has no launcher that makes mountpoints. */
static void make_missing(const struct carving *carving, const struct job *job) {
    if (job->identity.known || lies_in_filled(job)) {
        return;
    }
    const char *name = strrchr(job->path, '/') + 1;
    char *parent = mem_copy(job->path, (size_t)(name - job->path));
    int dir = open_without_links(AT_FDCWD, parent);
    if (dir < 0 || (mkdirat(dir, name, 0755) != 0 && errno != EEXIST)) {
        fail_errno(carving, job);
    }
    close(dir);
}

static void prepare_job(const struct carving *carving, struct job *job) {
    if (job->kind >= HAS_WRITE) {
        verify_granted(carving, job);
    } else if (is_bound(job)) {
        clones_open_early(carving, job);
    } else if (job->kind == JOB_MISSING) {
        make_missing(carving, job);
    } else if (job->kind == JOB_TMP) {
        filled_make_fresh(carving, job);
    } else if (job->kind == JOB_SNAPSHOT) {
        snapshot_take(carving, job);
    }
}

/* All that must happen before the first mount covers anything. */
static void prepare(const struct carving *carving) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        prepare_job(carving, &carving->jobs->item[i]);
    }
    clones_make(carving);
    for (size_t i = 0; i < carving->jobs->count; i++) {
        if (lies_in_filled(&carving->jobs->item[i])) {
            filled_make_mountpoint(carving, &carving->jobs->item[i]);
        }
    }
    filled_close(carving);
    if (!scratch_seal()) {
        give_up(carving->control, "cannot make the masks read-only: %s", strerror(errno));
    }
}

/* Mask or mount, whatever the job binds; `shared` when it must stay open. */
static int source_of(const struct carving *carving, struct job *job, bool is_dir, bool *shared) {
    *shared = false;
    if (is_bound(job)) {
        return clones_source(job);
    }
    if (job->filled || job->kind == JOB_TMP) {
        return filled_dir(carving, job);
    }
    *shared = true;
    return job->kind == JOB_MISSING ? carving->scratch.empty_dir
           : is_dir                 ? carving->scratch.denied_dir
                                    : carving->scratch.denied_file;
}

static void cover(const struct carving *carving, struct job *job) {
    bool shared;
    int target = open_place(carving, job);
    struct stat there = look(carving, job, target);
    if (!lies_in_filled(job) && !is_exactly(&job->identity, &there)) {
        fail(carving, job, "another file is there than before");
    }
    int source = source_of(carving, job, S_ISDIR(there.st_mode), &shared);
    if (source < 0) {
        fail_errno(carving, job);
    }
    struct stat st = look(carving, job, source);
    if (is_bound(job) && !is_exactly(&job->identity, &st)) {
        fail(carving, job, "another file is there than before");
    }
    if (!bind_fd(source, target, is_bound(job))) {
        fail_errno(carving, job);
    }
    job->shown = (struct identity){true, st.st_dev, st.st_ino};
    close(target);
    if (!shared) {
        close(source);
    }
}

/* Another socket that is there by now is masked like the one that was. */
static void cover_socket(const struct carving *carving, struct job *job) {
    int target = open_without_links(AT_FDCWD, job->path);
    if (target < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
        return;
    }
    if (target < 0 || !bind_fd(carving->scratch.denied_file, target, false)) {
        fail_errno(carving, job);
    }
    close(target);
}

static void do_job(const struct carving *carving, struct job *job) {
    if (job->kind == JOB_SNAPSHOT) {
        snapshot_show(carving, job);
    } else if (job->kind == JOB_SOCKET && !job->shown.known) {
        cover_socket(carving, job);
    } else if (!job->shown.known) { /* else a mask that is a part of a snapshot */
        cover(carving, job);
    }
}

/* By the snapshot of what it has bound. */
static bool is_covered(const struct carving *carving, const struct job *job) {
    size_t next = number_of(carving, job) + 1;
    return next < carving->jobs->count && strcmp(carving->jobs->item[next].path, job->path) == 0;
}

/* Once more by name, as the workload will: a name that was moved meanwhile took its mount along. */
static void verify(const struct carving *carving, struct job *job) {
    struct stat st;
    if (is_covered(carving, job) || job->kind == JOB_SOCKET) {
        return;
    }
    if (fstatat(AT_FDCWD, job->path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        fail_errno(carving, job);
    }
    if (!is_exactly(&job->shown, &st)) {
        fail(carving, job, "it was moved meanwhile");
    }
    struct statvfs fs;
    bool closed = job->kind == JOB_READ || job->kind == JOB_SNAPSHOT;
    if (closed && (statvfs(job->path, &fs) != 0 || !(fs.f_flag & ST_RDONLY))) {
        fail(carving, job, "it is not read-only");
    }
}

static void each_job(const struct carving *carving, void (*act)(const struct carving *, struct job *)) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        struct job *job = &carving->jobs->item[i];
        if (job->kind < HAS_WRITE && job->kind != JOB_LINK) {
            act(carving, job);
        }
    }
}

/* bwrap has left both as they come: its own way to a read-only mount reads the mount table once more. */
static void finish_dev(const struct carving *carving) {
    int dev = open_without_links(AT_FDCWD, "/dev");
    int shm = open_without_links(AT_FDCWD, "/dev/shm");
    if (dev < 0 || shm < 0 || !mount_fresh(shm) || !make_read_only(dev)) {
        give_up(carving->control, "cannot prepare /dev: %s", strerror(errno));
    }
    close(dev);
    close(shm);
}

/* Every source that has to be opened early is a descriptor; the workload gets the limit that its caller had. */
static struct rlimit make_room(const struct carving *carving) {
    struct rlimit before;
    if (getrlimit(RLIMIT_NOFILE, &before) != 0) {
        give_up(carving->control, "cannot read the limit of open files: %s", strerror(errno));
    }
    const struct rlimit raised = {before.rlim_max, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &raised);
    return before;
}

/* A launcher that listens does it another way then, and remembers. That is for want of privilege only: another workload
 * may use up what there is of namespaces and memory. */
static _Noreturn void cannot_mount(int control) {
    int problem = errno;
    if (is_exhausted(problem)) {
        give_up(control, "there is no room for the mounts of the sandbox: %s", strerror(problem));
    }
    if (control < 0) {
        give_up(control, "the inner stage cannot mount here, start with --mounts bwrap: %s", strerror(problem));
    }
    tell(control, MESSAGE_CANNOT_MOUNT, problem, NULL);
    _exit(EXIT_REFUSED);
}

void carve(int control, struct jobs *jobs) {
    struct carving carving = {.control = control, .jobs = jobs};
    mode_t mask = umask(0);
    mountlist_nest(jobs);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        !scratch_open(&carving.scratch)) {
        cannot_mount(control);
    }
    if (!mountinfo_read(&carving.mounts)) {
        give_up(control, "cannot read the mount table: %s", strerror(errno));
    }
    struct rlimit limit = make_room(&carving);
    arrived_close(&carving);
    prepare(&carving);
    each_job(&carving, do_job);
    if (!scratch_close(&carving.scratch)) {
        give_up(control, "cannot take the masks' source away: %s", strerror(errno));
    }
    finish_dev(&carving);
    each_job(&carving, verify);
    setrlimit(RLIMIT_NOFILE, &limit);
    umask(mask);
}
