#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fds.h"
#include "mem.h"
#include "path.h"
#include "paths.h"
#include "refuse.h"

#if defined(__x86_64__)
#define ARCH "x86_64"
#elif defined(__aarch64__)
#define ARCH "aarch64"
#else
#error "fleetbox-run knows x86_64 and aarch64"
#endif

#define PUSH "compile or push the policy again; files of a generation belong to root"

const char *fd_path(int fd) {
    char link[64];
    char path[PATH_LIMIT];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (length <= 0 || (size_t)length >= sizeof path || path[0] != '/') {
        refuse("mount /proc", "cannot read where an opened file lies");
    }
    return mem_copy(path, (size_t)length);
}

char *read_limited(int fd, size_t limit, size_t *length, const char *what) {
    char *bytes = mem_take(limit + 2);
    size_t have = 0;
    for (;;) {
        ssize_t got = read(fd, bytes + have, limit + 1 - have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            refuse("", "cannot read %s: %s", what, strerror(errno));
        }
        have += (size_t)got;
        if (got == 0 || have > limit) {
            break;
        }
    }
    if (have > limit) {
        refuse("split it or make it smaller", "%s is larger than %zu bytes", what, limit);
    }
    bytes[have] = '\0';
    mem_trim(bytes, have + 1);
    *length = have;
    return bytes;
}

/* Root's always; the caller's own only in the try-out. Nobody else may be able to write it. */
static void check_owner(int fd, const char *what, bool managed, mode_t type, const char *hint) {
    struct stat st;
    if (fstat(fd, &st) != 0 || (st.st_mode & S_IFMT) != type) {
        refuse("", "%s is not what it should be", what);
    }
    if (st.st_uid != 0 && (managed || st.st_uid != getuid())) {
        refuse(managed ? hint : "the plan must belong to you or to root",
               "%s belongs to uid %u", what, (unsigned)st.st_uid);
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        refuse("chmod go-w", "%s can be written by others", what);
    }
    if (type == S_IFDIR && st.st_uid != 0 && (st.st_mode & 077)) {
        refuse("chmod 0700", "%s is open to others", what);
    }
}

static int open_checked(int dir, const char *name, const char *what, bool managed, mode_t type, const char *hint) {
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (type == S_IFDIR ? O_DIRECTORY : 0);
    int fd = openat(dir, name, flags);
    if (fd < 0) {
        refuse(errno == ELOOP ? mem_text("it must not be a symlink: %s", hint) : hint, "cannot open %s: %s", what,
               strerror(errno));
    }
    check_owner(fd, what, managed, type, hint);
    return fd;
}

static void read_plan(struct plan *plan, int dir, const char *name, bool managed) {
    int fd = open_checked(dir, name, "the launch plan", managed, S_IFREG, PUSH);
    size_t length;
    const char *bytes = read_limited(fd, PLAN_LIMIT, &length, "the launch plan");
    close(fd);
    *plan = (struct plan){0};
    plan_parse(plan, bytes, length);
    refuse_as(plan->policy, NULL);
}

/* The try-out: `fleetbox run` wrote the plan into a directory of the caller's own. */
static int open_given(struct plan *plan, const char *file, const char *policy) {
    char dir_name[PATH_LIMIT];
    const char *slash = strrchr(file, '/');
    size_t length = slash ? (size_t)(slash - file) : 0;
    if (strlen(file) >= sizeof dir_name) {
        refuse("use a shorter path", "the path of the launch plan is too long");
    }
    snprintf(dir_name, sizeof dir_name, "%.*s", (int)length, file);
    const char *where = slash ? (length ? dir_name : "/") : ".";
    /* The directory may be reached through links; what counts is who owns where they lead. */
    int dir = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        refuse("give the file that `fleetbox run --print-launch` shows", "cannot open the directory of %s: %s", file,
               strerror(errno));
    }
    check_owner(dir, "the directory of the launch plan", false, S_IFDIR, PUSH);
    read_plan(plan, dir, slash ? slash + 1 : file, false);
    if (policy && strcmp(policy, plan->policy) != 0) {
        refuse("leave --policy out", "the given launch plan is for %s, not %.128s", plan->policy, policy);
    }
    return dir;
}

/* `current` is a link to a generation, which links into the store: resolved by one open, then fixed. */
static int open_current(struct plan *plan, const char *policy) {
    int generation = open(FLEETBOX_CURRENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (generation < 0) {
        refuse("push one with `fleetbox push-policy`, or try a policy with `fleetbox run --policy FILE -- CMD`",
               "no policy is active on this machine: %s: %s", FLEETBOX_CURRENT, strerror(errno));
    }
    check_owner(generation, "the active generation", true, S_IFDIR, PUSH);
    if (!path_below(fd_path(generation), FLEETBOX_STORE)) {
        refuse("push the policy again", "%s does not lead into %s", FLEETBOX_CURRENT, FLEETBOX_STORE);
    }
    int dir = open_checked(generation, FLEETBOX_LINUX_DIR, "the generation's directory", true, S_IFDIR, PUSH);
    read_plan(plan, dir, FLEETBOX_LAUNCH_PLAN, true);
    if (!policy || strcmp(policy, plan->policy) == 0) {
        return dir;
    }
    if (!plan_is_name(policy)) {
        refuse("", "%.128s is not the name of a policy", policy);
    }
    int policies = open_checked(dir, FLEETBOX_POLICIES_DIR, "the other policies of this machine", true, S_IFDIR, PUSH);
    int named = open_checked(policies, policy, mem_text("the policy %s", policy), true, S_IFDIR, PUSH);
    read_plan(plan, named, FLEETBOX_LAUNCH_PLAN, true);
    if (strcmp(policy, plan->policy) != 0) {
        refuse("push the policy again", "the launch plan in %s is for %s", policy, plan->policy);
    }
    return named;
}

static void open_filters(struct trusted *trusted, const struct plan *plan, int dir) {
    static const char *const variants[FILTERS] = {"unix", "nounix", "alone"};
    for (int variant = 0; variant < FILTERS; variant++) {
        trusted->filter[variant] = -1;
    }
    for (size_t i = 0; i < plan->op_count; i++) {
        const struct op *op = &plan->op[i];
        if (op->kind != OP_SECCOMP || strcmp(op->arg[0], ARCH) != 0) {
            continue;
        }
        int variant = 0;
        while (strcmp(op->arg[1], variants[variant]) != 0) { /* plan.c knows the same words */
            variant++;
        }
        if (trusted->filter[variant] >= 0) {
            refuse("compile the policy again", "the launch plan names two %s filters", op->arg[1]);
        }
        trusted->filter[variant] = fd_high(open_checked(dir, op->arg[2], op->arg[2], trusted->managed, S_IFREG, PUSH));
        trusted->filter_path[variant] = path_join(trusted->plan_dir, op->arg[2]);
    }
}

char *files_read(const char *dir, const char *name, const struct wanted *wanted, bool managed, size_t *length) {
    int parent = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0 && errno == ENOENT) {
        return NULL;
    }
    if (parent < 0) {
        refuse(wanted->hint, "cannot open %s: %s", dir, strerror(errno));
    }
    check_owner(parent, dir, managed, S_IFDIR, wanted->hint);
    char *bytes = NULL;
    if (faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) {
        int fd = open_checked(parent, name, wanted->what, managed, S_IFREG, wanted->hint);
        bytes = read_limited(fd, wanted->limit, length, wanted->what);
        close(fd);
    }
    close(parent);
    return bytes;
}

void files_open(struct trusted *trusted, struct plan *plan, const char *file, const char *policy) {
    trusted->managed = !file;
    trusted->self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (trusted->self < 0) {
        refuse("mount /proc", "cannot open the launcher itself: %s", strerror(errno));
    }
    trusted->self = fd_high(trusted->self);
    check_owner(trusted->self, "the launcher", trusted->managed, S_IFREG, PUSH);
    trusted->self_path = fd_path(trusted->self);
    int dir = file ? open_given(plan, file, policy) : open_current(plan, policy);
    trusted->plan_dir = fd_path(dir);
    open_filters(trusted, plan, dir);
    close(dir);
}
