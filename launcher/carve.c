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

#include "bindfd.h"
#include "control.h"
#include "exact.h"
#include "fds.h"
#include "mountinfo.h"
#include "path.h"
#include "refuse.h"
#include "scratch.h"

/* Two binds of a writable mount, made before anything covers parts of it. What is below it is bound from these:
 * bound from the mount itself, each would cost as much as there are mounts below it by then. */
enum clone { CLONE_WRITABLE, CLONE_READ_ONLY };
static const char *const clone_names[] = {"writable", "read-only"};
#define FILLED "filled"

struct carving {
    int control;
    struct jobs *jobs;
    struct scratch scratch;
    struct mounts mounts;
};

static _Noreturn void fail(const struct carving *carving, const struct job *job, const char *reason) {
    give_up(carving->control, "%s is not protected as it should be: %s", job->path, reason);
}

static _Noreturn void fail_errno(const struct carving *carving, const struct job *job) {
    fail(carving, job, errno == ELOOP ? "a symlink is on the way there" : strerror(errno));
}

static size_t number_of(const struct carving *carving, const struct job *job) {
    return (size_t)(job - carving->jobs->item);
}

static struct stat look(const struct carving *carving, const struct job *job, int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0) {
        fail_errno(carving, job);
    }
    return st;
}

static void check_identity(const struct carving *carving, const struct job *job, int fd) {
    struct stat st = look(carving, job, fd);
    if (!is_exactly(&job->identity, &st)) {
        fail(carving, job, "another file is there than before");
    }
}

static int open_place(const struct carving *carving, const struct job *job) {
    int fd = open_without_links(AT_FDCWD, job->path);
    if (fd < 0) {
        fail_errno(carving, job);
    }
    return fd;
}

/* Writable mounts of bwrap's are the only ones that anything writable can be bound from. */
static struct job *granted_above(const struct job *job) {
    struct job *above = job->above;
    while (above && above->kind != HAS_WRITE && above->kind != JOB_AGAIN && above->kind != HAS_READ) {
        above = above->above;
    }
    return above && above->kind != HAS_READ ? above : NULL;
}

static bool is_bound(const struct job *job) {
    return job->kind == JOB_READ || job->kind == JOB_WRITE || job->kind == JOB_PIN || job->kind == JOB_AGAIN;
}

static enum clone clone_for(const struct job *job) {
    return job->kind == JOB_READ ? CLONE_READ_ONLY : CLONE_WRITABLE;
}

/* Where nothing of the host can be seen before the job is done: its mountpoint must be made. */
static bool lies_in_filled(const struct job *job) {
    return job->above && (job->above->kind == JOB_NONE || job->above->kind == JOB_TMP);
}

/* Mounts that reach us between bwrap's last look and ours, while they still could. */
static bool may_be_writable(const struct carving *carving, const char *path) {
    if (path_at_or_below(path, "/dev") || path_at_or_below(path, "/proc")) {
        return true;
    }
    for (const struct job *job = mountlist_around(carving->jobs, path); job; job = job->above) {
        if (job->kind == HAS_WRITE || job->kind == HAS_TMP || job->kind == HAS_DEVICE || job->kind == JOB_AGAIN) {
            return true;
        }
        if (job->kind == HAS_READ) {
            return false;
        }
    }
    return false;
}

static void close_late_mounts(const struct carving *carving) {
    for (size_t i = 0; i < carving->mounts.count; i++) {
        const struct mount *mount = &carving->mounts.item[i];
        if (!mount->writable || may_be_writable(carving, mount->path)) {
            continue;
        }
        int fd = open_without_links(AT_FDCWD, mount->path);
        if (fd < 0 && errno != EMFILE) { /* neither can the workload go there */
            continue;
        }
        if (fd < 0 || (!is_read_only(fd) && !make_read_only(fd))) {
            give_up(carving->control, "cannot make %s read-only, which was mounted a moment ago: %s", mount->path,
                    strerror(errno));
        }
        close(fd);
    }
}

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

/* Below a clone of what bwrap bound; without one only what was opened before anything was covered. */
static int open_source(const struct job *job) {
    const struct job *granted = granted_above(job);
    if (job->kind == JOB_AGAIN || !granted) {
        return fcntl(job->source, F_DUPFD_CLOEXEC, 3);
    }
    const char *below = job->path + strlen(granted->path) + (granted->path[1] ? 1 : 0);
    return open_without_links(granted->clones.fd[clone_for(job)], below);
}

static void open_early(const struct carving *carving, struct job *job) {
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

static void make_clones(const struct carving *carving) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        const struct job *job = &carving->jobs->item[i];
        struct job *granted = is_bound(job) && job->kind != JOB_AGAIN ? granted_above(job) : NULL;
        if (granted && !granted->clones.wanted[clone_for(job)]) {
            granted->clones.wanted[clone_for(job)] = true;
            clone_granted(carving, granted, clone_for(job));
        }
    }
}

static int filled_dir(const struct carving *carving, struct job *job) {
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

static void make_fresh(const struct carving *carving, struct job *job) {
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
    int fd = open_source(job);
    if (fd < 0) {
        fail_errno(carving, job);
    }
    struct stat st = look(carving, job, fd);
    close(fd);
    return S_ISDIR(st.st_mode);
}

static void make_mountpoint(const struct carving *carving, const struct job *job) {
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
static void seal(const struct carving *carving) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        const struct job *job = &carving->jobs->item[i];
        if (job->kind == JOB_NONE && job->filled && !scratch_set_mode(&carving->scratch, FILLED, i, 0111)) {
            fail_errno(carving, job);
        }
    }
    if (!scratch_seal()) {
        give_up(carving->control, "cannot make the masks read-only: %s", strerror(errno));
    }
}

/* All that must happen before the first mount covers anything. */
static void prepare(const struct carving *carving) {
    for (size_t i = 0; i < carving->jobs->count; i++) {
        struct job *job = &carving->jobs->item[i];
        if (job->kind >= HAS_WRITE) {
            verify_granted(carving, job);
        } else if (is_bound(job)) {
            open_early(carving, job);
        } else if (job->kind == JOB_MISSING) {
            make_missing(carving, job);
        } else if (job->kind == JOB_TMP) {
            make_fresh(carving, job);
        }
    }
    make_clones(carving);
    for (size_t i = 0; i < carving->jobs->count; i++) {
        if (lies_in_filled(&carving->jobs->item[i])) {
            make_mountpoint(carving, &carving->jobs->item[i]);
        }
    }
    seal(carving);
}

/* Mask or mount, whatever the job binds; `shared` when it must stay open. */
static int source_of(const struct carving *carving, const struct job *job, bool is_dir, bool *shared) {
    *shared = false;
    if (is_bound(job)) {
        return open_source(job);
    }
    if (job->filled || job->kind == JOB_TMP) {
        return scratch_get(&carving->scratch, FILLED, number_of(carving, job));
    }
    *shared = true;
    return job->kind == JOB_MISSING ? carving->scratch.empty_dir
           : is_dir                 ? carving->scratch.denied_dir
                                    : carving->scratch.denied_file;
}

static void do_job(const struct carving *carving, struct job *job) {
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

/* Once more by name, as the workload will: a name that was moved meanwhile took its mount along. */
static void verify(const struct carving *carving, struct job *job) {
    struct stat st;
    if (fstatat(AT_FDCWD, job->path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        fail_errno(carving, job);
    }
    if (!is_exactly(&job->shown, &st)) {
        fail(carving, job, "it was moved meanwhile");
    }
    struct statvfs fs;
    if (job->kind == JOB_READ && (statvfs(job->path, &fs) != 0 || !(fs.f_flag & ST_RDONLY))) {
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
    close_late_mounts(&carving);
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
