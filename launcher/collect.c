#include "collect.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "path.h"
#include "paths.h"
#include "places.h"
#include "refuse.h"

static void skip(struct launch *launch, const char *path, const char *reason) {
    strings_add(&launch->skipped, mem_text("%s: %s", path, reason));
}

static enum access access_of(const struct op *op) {
    return strcmp(op->arg[0], "write") == 0 ? ACCESS_WRITE : strcmp(op->arg[0], "read") == 0 ? ACCESS_READ : ACCESS_NONE;
}

void add_guard(struct launch *launch, const struct resolved *place, enum access access, const char *why) {
    const struct root *root = roots_holding(&launch->roots, place->path);
    struct entry entry = entry_at(place, access, why);
    entry.secret = access == ACCESS_NONE;
    if (root) {
        strings_add(&launch->agreed, mem_text("%s %s", access == ACCESS_NONE ? "none" : "read", place->path));
    }
    if (place->found == FOUND) {
        entries_add(&launch->entries, entry);
        return;
    }
    if (place->found == INACCESSIBLE || !root || strlen(root->path) >= place->missing_at) {
        if (access == ACCESS_NONE && place->found != INACCESSIBLE && !root) {
            strings_add(&launch->absent, place->path);
            strings_add(&launch->absent_in, path_parent(mem_copy(place->path, place->missing_at)));
            if (place->found == MISSING) {
                strings_add(&launch->later.names, mem_copy(place->path, place->missing_at));
            }
        } else {
            skip(launch, place->path, "does not exist, nothing to do");
        }
        return;
    }
    /* Where a file stands in the way of the path, that file must not be replaced by a directory. */
    entry.path = mem_copy(place->path, place->missing_at);
    entry.kind = place->found == MISSING ? ENTRY_MISSING : ENTRY_BIND;
    entry.is_dir = place->found == MISSING;
    entry.access = ACCESS_READ;
    if (place->found == NOT_A_DIR) {
        struct resolved file = resolve(entry.path, &launch->roots);
        if (file.found != FOUND) {
            refuse("start again", "%s changed while the sandbox was being prepared", entry.path);
        }
        entry.dev = file.st.st_dev;
        entry.ino = file.st.st_ino;
    } else {
        entry.dev = 0;
        entry.ino = 0;
    }
    entries_add(&launch->entries, entry);
}

static void add_device(struct launch *launch, const struct resolved *place, const char *why) {
    if (path_below(place->path, "/dev")) {
        strings_add(&launch->devices, place->path);
        return;
    }
    struct entry entry = entry_at(place, ACCESS_WRITE, why);
    entry.kind = ENTRY_DEVICE;
    entries_add(&launch->entries, entry);
}

static bool is_device(const struct resolved *place) {
    return place->found == FOUND && (S_ISCHR(place->st.st_mode) || S_ISBLK(place->st.st_mode));
}

/* /dev and /proc are fresh; the only thing a rule can ask for there is a device. */
static void add_virtual(struct launch *launch, const struct resolved *place, enum access access) {
    bool dev = path_below(place->path, "/dev") && !path_at_or_below(place->path, "/dev/shm") &&
               !path_at_or_below(place->path, "/dev/pts");
    if (access == ACCESS_WRITE && dev) {
        add_device(launch, place, "rule");
        return;
    }
    if (access == ACCESS_NONE && path_at_or_below(place->path, "/proc")) {
        refuse("take the rule out: /proc is a fresh one that shows the sandbox only",
               "the policy denies %s, and nothing below /proc can be denied", place->path);
    }
    skip(launch, place->path, "/dev and /proc are private, the rule has no effect");
}

static void add_rule(struct launch *launch, const struct op *op) {
    enum access access = access_of(op);
    launch->roots.followed = access == ACCESS_NONE ? &launch->later.links : NULL;
    struct resolved place = access == ACCESS_WRITE ? find_writable(launch, op->arg[1]) : find(launch, op->arg[1]);
    launch->roots.followed = NULL;
    if (access != ACCESS_READ) {
        refuse_everything(&place, op->arg[0]);
    }
    if (is_virtual(place.path)) {
        if (place.found == FOUND) {
            add_virtual(launch, &place, access);
        }
        return;
    }
    if (access != ACCESS_WRITE) {
        add_guard(launch, &place, access, "rule");
        return;
    }
    if (place.found != FOUND) {
        skip(launch, place.path, "does not exist, the write rule has no effect");
    } else if (is_device(&place)) {
        add_device(launch, &place, "rule");
    } else if (may_write(launch)) {
        entries_add(&launch->entries, entry_at(&place, ACCESS_WRITE, "rule"));
    }
}

static void add_existing(struct launch *launch, const char *path, enum access access, const char *why) {
    struct resolved place = find(launch, path);
    if (place.found == FOUND && strcmp(place.path, "/") != 0 && !is_virtual(place.path)) {
        entries_add(&launch->entries, entry_at(&place, access, why));
    }
}

static bool in_library_tree(const char *path) {
    static const char *const trees[] = {"/usr", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store",
                                        "/run/opengl-driver"};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        if (path_below(path, trees[i])) {
            return true;
        }
    }
    return false;
}

static bool is_closed(const struct launch *launch, const char *path) {
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        bool closed = entry->access == ACCESS_NONE || entry->kind == ENTRY_TMP;
        if (closed && path_at_or_below(path, entry->path)) {
            return true;
        }
    }
    return false;
}

void collect_library(struct launch *launch, const char *path, const char *why) {
    struct resolved place = find(launch, path);
    if (place.found != FOUND || !in_library_tree(path) || !in_library_tree(place.path)) {
        skip(launch, path, "no library or program is there, not shown");
    } else if (!(S_ISREG(place.st.st_mode) || S_ISDIR(place.st.st_mode)) || place.st.st_uid != 0 ||
               (place.st.st_mode & (S_IWGRP | S_IWOTH))) {
        skip(launch, path, "no file or directory that root alone can change, not shown");
    } else if (is_closed(launch, place.path)) {
        skip(launch, path, "the policy closes it, not shown");
    } else {
        entries_add(&launch->entries, entry_at(&place, ACCESS_READ, why));
    }
}

/* The symlink PATH itself, in the canonical directory that holds it. */
static void add_link(struct launch *launch, const char *path, const char *target, const char *why) {
    const char *name = strrchr(path, '/') + 1;
    struct resolved parent = find(launch, name - path > 1 ? mem_copy(path, (size_t)(name - path - 1)) : "/");
    if (parent.found == FOUND) {
        entries_add(&launch->entries, (struct entry){.path = path_join(parent.path, name),
                                                     .access = ACCESS_READ,
                                                     .kind = ENTRY_LINK,
                                                     .why = why,
                                                     .target = target});
    }
}

static bool is_link(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

static void add_minimal(struct launch *launch, const char *path) {
    if (!is_link(path)) {
        add_existing(launch, path, ACCESS_READ, "minimal root");
        return;
    }
    char target[PATH_LIMIT];
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length > 0 && (size_t)length < sizeof target - 1) {
        add_link(launch, path, mem_copy(target, (size_t)length), "minimal root");
    }
}

/* A link in a masked directory is made again, to where it leads in the end: links on the way may be masked. */
static void add_keep(struct launch *launch, const char *place) {
    const char *path = expand(launch, place);
    struct resolved kept = find(launch, place);
    add_existing(launch, place, ACCESS_READ, "kept visible");
    if (kept.found == FOUND && is_link(path)) {
        add_link(launch, path, kept.path, "kept visible");
    }
}

static void add_op(struct launch *launch, const struct op *op) {
    struct resolved place;
    switch (op->kind) {
        case OP_RULE:
            add_rule(launch, op);
            break;
        case OP_DEVICE:
            place = resolve(op->arg[0], &launch->roots);
            if (is_device(&place)) {
                add_device(launch, &place, "device");
            } else {
                skip(launch, op->arg[0], "is not a device node here");
            }
            break;
        case OP_MASK:
            add_existing(launch, op->arg[0], ACCESS_NONE, "mask");
            break;
        case OP_MASK_WSL:
            if (launch->wsl2) {
                add_existing(launch, op->arg[0], ACCESS_NONE, "mask on WSL2");
            }
            break;
        case OP_KEEP:
            add_keep(launch, op->arg[0]);
            break;
        case OP_MINIMAL:
            if (launch->plan.root == ROOT_MINIMAL) {
                add_minimal(launch, op->arg[0]);
            }
            break;
        case OP_GLOB:
            collect_glob(launch, op);
            break;
        case OP_GPU_VENDOR:
        case OP_GPU_SELECT:
        case OP_GPU_PROFILE:
        case OP_GPU_EXCLUSIVE:
        case OP_PROTECT:
        case OP_PROTECT_PART:
        case OP_ENV_PASS:
        case OP_ENV_SET:
        case OP_SECCOMP:
        case OP_PROGRAM:
        case OP_LIMIT:
            break;
    }
}

/* True for what denies or holds back something below ~. A read rule elsewhere may open a minimal root. */
static bool restricts_home(const struct launch *launch, const struct op *op) {
    const char *place = op->kind == OP_RULE ? op->arg[1] : op->arg[0];
    bool rule = op->kind == OP_RULE && access_of(op) != ACCESS_WRITE;
    if (!(rule || op->kind == OP_GLOB || op->kind == OP_MASK) || strncmp(place, "${HOME}", 7) != 0) {
        return false;
    }
    return !rule || access_of(op) == ACCESS_NONE || roots_holding(&launch->roots, find(launch, place).path);
}

/* $HOME is whatever the caller says; the keys are where the account's home is. */
static void add_for_account(struct launch *launch) {
    const char *home = launch->home;
    if (!launch->account_home) {
        return;
    }
    launch->home = launch->account_home;
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        if (restricts_home(launch, &launch->plan.op[i])) {
            add_op(launch, &launch->plan.op[i]);
        }
    }
    launch->home = home;
}

static void add_workspace(struct launch *launch) {
    struct resolved place = {.found = FOUND, .path = launch->workspace};
    if (stat(launch->workspace, &place.st) != 0) {
        refuse("", "the workspace %s went away", launch->workspace);
    }
    bool write = may_write(launch) && launch->plan.workspace == WORKSPACE_WRITE;
    entries_add(&launch->entries, entry_at(&place, write ? ACCESS_WRITE : ACCESS_READ, "workspace"));
}

static void add_tmp(struct launch *launch) {
    static const char *const places[] = {"/tmp", "/var/tmp"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct resolved place = resolve(places[i], &launch->roots);
        if (place.found != FOUND || !S_ISDIR(place.st.st_mode)) {
            continue;
        }
        struct entry entry = entry_at(&place, ACCESS_WRITE, "tmp");
        if (launch->plan.tmp != TMP_HOST && strcmp(place.path, launch->workspace) == 0) {
            refuse("work in a directory of your own below it", "the workspace is %s, which the policy %s", place.path,
                   launch->plan.tmp == TMP_PRIVATE ? "makes private" : "closes");
        }
        if (launch->plan.tmp == TMP_PRIVATE) {
            entry.kind = ENTRY_TMP;
        } else if (launch->plan.tmp == TMP_NONE) {
            entry.access = ACCESS_NONE;
        } else if (!may_write(launch)) {
            entry.access = ACCESS_READ;
        }
        entries_add(&launch->entries, entry);
    }
}

/* The launcher's own: never visible, and no rule may reach into it. */
static void mask_own_state(struct launch *launch) {
    const char *own[] = {FLEETBOX_STATE, launch->state_dir, launch->files.managed ? NULL : launch->files.plan_dir};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (!own[i]) {
            continue;
        }
        for (size_t j = 0; j < launch->entries.count; j++) {
            const struct entry *entry = &launch->entries.item[j];
            if (entry->access != ACCESS_NONE && path_at_or_below(entry->path, own[i])) {
                refuse("work elsewhere; this directory belongs to the launcher", "%s (%s) lies in %s", entry->path,
                       entry->why, own[i]);
            }
        }
        add_existing(launch, own[i], ACCESS_NONE, "the launcher's own");
    }
}

static int by_path(const void *left, const void *right) {
    return path_compare(*(const char *const *)left, *(const char *const *)right);
}

void collect(struct launch *launch) {
    if (launch->roots.made.count) {
        qsort(launch->roots.made.item, launch->roots.made.count, sizeof *launch->roots.made.item, by_path);
    }
    add_workspace(launch);
    add_tmp(launch);
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        add_op(launch, &launch->plan.op[i]);
    }
    add_for_account(launch);
    collect_protected(launch);
    collect_gpu(launch);
    collect_sockets(launch);
    mask_own_state(launch);
    collect_aliases(launch);
    collect_links(launch);
}
