#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.h"
#include "exact.h"
#include "launch.h"
#include "path.h"
#include "readable.h"
#include "refuse.h"

/* The kernel's interface (linux/landlock.h), repeated: the compiler's headers may be older than the kernel. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum { ASK_VERSION = 1, RULE_PATH_BENEATH = 1 };

struct ruleset_attr {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

#define BIT(n) (UINT64_C(1) << (n))
#define EXECUTE BIT(0)
#define WRITE_FILE BIT(1)
#define READ_FILE BIT(2)
#define READ_DIRECTORY BIT(3)
#define CHANGE_DIRECTORY (BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12))
#define REFER BIT(13)     /* a name moves to another directory */
#define TRUNCATE BIT(14)
#define IOCTL_DEV BIT(15) /* most ioctls of a device that is opened from now on */
#define SCOPES (BIT(0) | BIT(1))

enum { ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_IOCTL_DEV = 5, ABI_SCOPES = LANDLOCK_ABI_SCOPES, ABI_NEWEST = 7 };

/* Of what can be written everywhere: the private /dev holds nothing else that can be opened. */
static const char *const always_writable[] = {
    "/dev/null", "/dev/zero",    "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
    "/dev/pts",  "/dev/console", "/dev/shm",  "/proc",
};

/* All that the host's /dev is good for: no terminal but the caller's, no other device. */
static const char *const base_nodes[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"};

static uint64_t known_to(int abi) {
    uint64_t rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIRECTORY | CHANGE_DIRECTORY;
    rights |= abi >= ABI_REFER ? REFER : 0;
    rights |= abi >= ABI_TRUNCATE ? TRUNCATE : 0;
    rights |= abi >= ABI_IOCTL_DEV ? IOCTL_DEV : 0;
    return rights;
}

static uint64_t handled(const struct landlock *landlock) {
    uint64_t rights = 0;
    if (landlock->layers & LANDLOCK_WRITES) {
        rights |= WRITE_FILE | CHANGE_DIRECTORY | REFER | TRUNCATE | IOCTL_DEV;
    }
    if (landlock->layers & LANDLOCK_PROGRAMS) {
        rights |= EXECUTE;
    }
    if (landlock->layers & LANDLOCK_ALONE) {
        rights |= EXECUTE | READ_FILE | READ_DIRECTORY;
    }
    return rights & known_to(landlock->abi);
}

static int version(void) {
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);
}

static const char *absence(int problem) {
    return problem == EOPNOTSUPP ? "Landlock is switched off: it is not among the boot parameter lsm="
           : problem == ENOSYS   ? "this kernel has no Landlock"
                                 : "Landlock is refused here, by a container's seccomp profile perhaps";
}

static bool lists_programs(const struct plan *plan) {
    for (size_t i = 0; i < plan->op_count; i++) {
        if (plan->op[i].kind == OP_PROGRAM) {
            return true;
        }
    }
    return false;
}

/* A process that any ruleset about files binds cannot mount, which is what a nested sandbox begins with. */
static void choose_layers(struct landlock *landlock, const struct plan *plan) {
    bool required = plan->landlock == LANDLOCK_REQUIRED;
    bool programs = lists_programs(plan);
    if (landlock->abi >= ABI_SCOPES) {
        landlock->layers |= LANDLOCK_SCOPES;
    } else {
        landlock->missing = "abstract sockets and signals stay open: they need Linux 6.12";
    }
    if (plan->nested) {
        landlock->missing = "writes are left to the mounts: nested sandboxes must be able to mount";
    } else if (landlock->abi < ABI_REFER && !required && !programs) {
        landlock->missing = "Linux before 5.19 would then refuse to move any file to another directory";
    } else {
        landlock->layers |= LANDLOCK_WRITES | (programs ? LANDLOCK_PROGRAMS : 0);
    }
}

void landlock_choose(struct launch *launch) {
    struct landlock *landlock = &launch->landlock;
    const struct plan *plan = &launch->plan;
    bool programs = lists_programs(plan);
    const char *needed = programs ? "process.allowed_binaries" : "landlock: required";
    if (plan->landlock == LANDLOCK_OFF && !programs) {
        landlock->missing = "switched off";
        return;
    }
    if (plan->nested && (programs || plan->landlock == LANDLOCK_REQUIRED)) {
        refuse("take one of the two out of the policy",
               "the policy has both %s and process.nested_sandboxes, and a process under Landlock cannot mount", needed);
    }
    int answer = version();
    int problem = errno;
    if (answer <= 0 && (programs || plan->landlock == LANDLOCK_REQUIRED)) {
        refuse(programs ? "it needs Linux 5.13 or newer with landlock in lsm="
                        : "it needs Linux 5.13 or newer with landlock in lsm=; landlock: best-effort would go on without",
               "the policy has %s: %s", needed, absence(problem));
    }
    if (answer <= 0) {
        landlock->missing = absence(problem);
        return;
    }
    landlock->abi = answer < ABI_NEWEST ? answer : ABI_NEWEST;
    choose_layers(landlock, plan);
}

static bool stays_writable(const struct entry *entry) {
    return entry->kind == ENTRY_TMP || entry->kind == ENTRY_DEVICE ||
           (entry->kind == ENTRY_BIND && entry->access == ACCESS_WRITE);
}

static void add_writable(const struct launch *launch, struct strings *argv) {
    const struct entry *above = NULL;
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        if (stays_writable(entry) && !(above && path_below(entry->path, above->path))) {
            strings_add(argv, "--writable");
            strings_add(argv, entry->path);
            above = entry;
        }
    }
    for (size_t i = 0; i < launch->devices.count; i++) {
        strings_add(argv, "--writable");
        strings_add(argv, launch->devices.item[i]);
    }
}

void landlock_words(const struct launch *launch, struct strings *argv) {
    const struct landlock *landlock = &launch->landlock;
    if (!landlock->layers) {
        return;
    }
    strings_add(argv, "--landlock");
    strings_add(argv, mem_text("%d:%u", landlock->abi, landlock->layers));
    if ((landlock->layers & LANDLOCK_WRITES) && !(landlock->layers & LANDLOCK_ALONE)) {
        add_writable(launch, argv);
    }
    for (size_t i = 0; i < landlock->programs.count; i++) {
        strings_add(argv, "--program");
        strings_add(argv, landlock->programs.item[i]);
    }
}

void landlock_show(const struct launch *launch) {
    const struct landlock *landlock = &launch->landlock;
    if (landlock->layers) {
        printf("%-9s ABI %d%s%s%s\n", "landlock", landlock->abi,
               landlock->layers & LANDLOCK_ALONE    ? ", reading only what is open, writing nothing"
               : landlock->layers & LANDLOCK_WRITES ? ", writing only below what is writable"
                                                    : "",
               landlock->layers & LANDLOCK_PROGRAMS ? ", executing only what is listed" : "",
               landlock->layers & LANDLOCK_SCOPES ? ", no abstract socket and no process of the host" : "");
    }
    if (landlock->missing) {
        printf("%-9s not used  (%s)\n", "landlock", landlock->missing);
    }
    for (size_t i = 0; i < landlock->programs.count; i++) {
        printf("%-9s %s\n", "program", landlock->programs.item[i]);
    }
}

bool landlock_takes(struct landlock *landlock, const char *option, char *value) {
    if (strcmp(option, "--places") == 0) {
        return mountlist_read(&landlock->places, value);
    }
    if (strcmp(option, "--writable") == 0) {
        strings_add(&landlock->writable, value);
    } else if (strcmp(option, "--program") == 0) {
        strings_add(&landlock->programs, value);
    } else if (strcmp(option, "--landlock") == 0) {
        char *layers;
        landlock->abi = (int)strtol(value, &layers, 10);
        landlock->layers = *layers ? (unsigned)strtoul(layers + 1, NULL, 10) : 0;
    } else {
        return false;
    }
    return true;
}

/* What may be done at and below an opened place, as its kind allows: the kernel refuses a file the rights of directories. */
static uint64_t rights_at(int fd, const char *path) {
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return 0;
    }
    if (!S_ISDIR(st.st_mode)) {
        return WRITE_FILE | TRUNCATE | IOCTL_DEV;
    }
    if (strcmp(path, "/proc") == 0) { /* a process's own files there; the kernel guards the others */
        return WRITE_FILE | TRUNCATE;
    }
    return strcmp(path, "/dev/pts") == 0 ? WRITE_FILE | IOCTL_DEV : WRITE_FILE | CHANGE_DIRECTORY | REFER | TRUNCATE;
}

static bool allow(int ruleset, int fd, uint64_t rights) {
    struct path_beneath rule = {.allowed = rights, .parent = fd};
    return !rights || syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
}

static bool allow_place(const struct landlock *landlock, int ruleset, const char *path, uint64_t rights) {
    int fd = open_without_links(AT_FDCWD, path); /* a link could be a workload's, and lead out */
    if (fd < 0) {
        return false;
    }
    bool done = allow(ruleset, fd, (rights ? rights : rights_at(fd, path)) & handled(landlock));
    int problem = errno;
    close(fd);
    errno = problem;
    return done;
}

/* The caller's terminal by its own node, which the sandbox's /dev/pts does not show: /dev/stdout leads there. */
static bool allow_terminals(const struct landlock *landlock, int ruleset) {
    for (int fd = 0; fd < 3; fd++) {
        if (isatty(fd) && !allow(ruleset, fd, (READ_FILE | WRITE_FILE | IOCTL_DEV) & handled(landlock))) {
            return false;
        }
    }
    return true;
}

static void allow_writing(const struct landlock *landlock, int ruleset, int control) {
    for (size_t i = 0; i < sizeof always_writable / sizeof *always_writable; i++) {
        if (!allow_place(landlock, ruleset, always_writable[i], 0) && errno != ENOENT) {
            give_up(control, "Landlock cannot allow %s: %s", always_writable[i], strerror(errno));
        }
    }
    for (size_t i = 0; i < landlock->writable.count; i++) {
        if (!allow_place(landlock, ruleset, landlock->writable.item[i], 0)) {
            give_up(control, "Landlock cannot allow %s: %s", landlock->writable.item[i], strerror(errno));
        }
    }
    if (!allow_terminals(landlock, ruleset)) {
        give_up(control, "Landlock cannot allow the terminal: %s", strerror(errno));
    }
}

struct reading {
    const struct landlock *landlock;
    int ruleset;
};

static bool allow_reading(void *context, int fd, const struct stat *st) {
    const struct reading *reading = context;
    uint64_t rights = READ_FILE | (S_ISDIR(st->st_mode) ? READ_DIRECTORY : 0);
    if (!(reading->landlock->layers & LANDLOCK_PROGRAMS)) {
        rights |= EXECUTE;
    }
    return allow(reading->ruleset, fd, rights & handled(reading->landlock));
}

/* Nothing can be written but what keeps nothing. */
static void allow_alone(const struct landlock *landlock, int ruleset, int control) {
    readable_grant_all(&landlock->places, control, allow_reading, &(struct reading){landlock, ruleset});
    for (size_t i = 0; i < sizeof base_nodes / sizeof *base_nodes; i++) {
        uint64_t rights = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV;
        if (!allow_place(landlock, ruleset, base_nodes[i], rights) && errno != ENOENT) {
            give_up(control, "Landlock cannot allow %s: %s", base_nodes[i], strerror(errno));
        }
    }
    if (!allow_terminals(landlock, ruleset)) {
        give_up(control, "Landlock cannot allow the terminal: %s", strerror(errno));
    }
}

int landlock_rules(const struct landlock *landlock, int control) {
    if (!landlock->layers) {
        return -1;
    }
    struct ruleset_attr attr = {.handled_fs = handled(landlock),
                                .scoped = landlock->layers & LANDLOCK_SCOPES ? SCOPES : 0};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) {
        give_up(control, "the kernel does not take the Landlock ruleset: %s", strerror(errno));
    }
    if (landlock->layers & LANDLOCK_ALONE) {
        allow_alone(landlock, ruleset, control);
    } else if (landlock->layers & LANDLOCK_WRITES) {
        allow_writing(landlock, ruleset, control);
    }
    for (size_t i = 0; i < landlock->programs.count; i++) {
        if (!allow_place(landlock, ruleset, landlock->programs.item[i], EXECUTE)) {
            give_up(control, "Landlock cannot allow %s: %s", landlock->programs.item[i], strerror(errno));
        }
    }
    return ruleset;
}

bool landlock_enter(int ruleset) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}
