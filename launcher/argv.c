#include "argv.h"

#include <stdint.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "alone.h"
#include "collect.h"
#include "control.h"
#include "env.h"
#include "group.h"
#include "mountlist.h"
#include "parts.h"
#include "path.h"
#include "refuse.h"
#include "signals.h"
#include "state.h"

/* MAX_ARGS in bubblewrap.c; it counts its own name, and the program that it runs with all of its arguments, as well. */
enum { ARGUMENT_LIMIT = 9000, BESIDE_OPTIONS = 8 };

/* The words of one operation; ends with NULL. */
static void add(struct strings *argv, const char *const *words) {
    for (; *words; words++) {
        strings_add(argv, *words);
    }
}
#define ADD(argv, ...) add((argv), (const char *const[]){__VA_ARGS__, NULL})

static void add_perms(struct strings *argv, const struct bwrap *bwrap, const char *mode) {
    if (bwrap->features & FEATURE_PERMS) {
        ADD(argv, "--perms", mode);
    }
}

static void add_namespaces(const struct launch *launch, const struct bwrap *bwrap, bool controlled,
                           struct strings *argv) {
    ADD(argv, bwrap->is_setuid ? "--unshare-user-try" : "--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try");
    if (!launch->host_pids) {
        ADD(argv, "--unshare-pid", "--as-pid-1");
    }
    if (launch->plan.network == NETWORK_NONE) {
        ADD(argv, "--unshare-net");
    }
    if (!controlled) { /* else the control socket's end ends it, and at any moment: bwrap would leave a child behind that
                        * it has made and not yet let run, which waits for ever and holds the locks */
        ADD(argv, "--die-with-parent");
    }
    ADD(argv, "--cap-drop", "ALL");
    if (bwrap->inner_mounts) { /* to mount with, and to give both up for good */
        ADD(argv, "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP");
    }
    if (launch->new_session) {
        ADD(argv, "--new-session");
    }
    /* Older ones lack it: there the filter refuses clone, clone3 and unshare with namespace flags. */
    if (!launch->plan.nested && (bwrap->features & FEATURE_DISABLE_USERNS)) {
        ADD(argv, "--disable-userns");
    }
}

/* Nodes only after --dev, which would hide them; /dev itself read-only only after them. */
static void add_dev(const struct launch *launch, const struct bwrap *bwrap, struct strings *argv) {
    ADD(argv, "--dev", "/dev");
    for (size_t i = 0; i < launch->devices.count; i++) {
        ADD(argv, "--dev-bind", launch->devices.item[i], launch->devices.item[i]);
    }
    for (size_t i = 0; i + 1 < launch->device_links.count; i += 2) {
        ADD(argv, "--symlink", launch->device_links.item[i], launch->device_links.item[i + 1]);
    }
    if (!bwrap->inner_mounts) {
        add_perms(argv, bwrap, "1777");
        ADD(argv, "--tmpfs", "/dev/shm", "--remount-ro", "/dev");
    }
}

/* Making each read-only is what costs, because bwrap reads the mount table for it: 300 masks take 9 times as long
 * as without. A --ro-bind of one empty directory takes still longer; and without it the workload, whose user owns
 * the mask, could open it with chmod and use it. */
static void add_mask(const struct launch *launch, const struct bwrap *bwrap, const struct entry *entry,
                     struct strings *argv) {
    if (!entry->is_dir) {
        ADD(argv, "--ro-bind", state_denied_file(launch->state_dir), entry->path);
        return;
    }
    add_perms(argv, bwrap, entry->reopened ? "0111" : "0000");
    ADD(argv, "--tmpfs", entry->path);
    if (!entry->reopened) {
        ADD(argv, "--remount-ro", entry->path);
    }
}

static void add_entry(const struct launch *launch, const struct bwrap *bwrap, const struct entry *entry,
                      struct strings *argv) {
    switch (entry->kind) {
        case ENTRY_TMP:
            add_perms(argv, bwrap, "1777");
            ADD(argv, "--tmpfs", entry->path);
            return;
        case ENTRY_MISSING:
            add_perms(argv, bwrap, "0555");
            ADD(argv, "--tmpfs", entry->path, "--remount-ro", entry->path);
            return;
        case ENTRY_DEVICE:
            ADD(argv, "--dev-bind", entry->path, entry->path);
            return;
        case ENTRY_LINK:
            ADD(argv, "--symlink", entry->target, entry->path);
            return;
        case ENTRY_PIN:
            ADD(argv, "--bind", entry->path, entry->path);
            return;
        case ENTRY_BIND:
            if (entry->access == ACCESS_NONE) {
                add_mask(launch, bwrap, entry, argv);
            } else {
                ADD(argv, entry->access == ACCESS_READ ? "--ro-bind" : "--bind", entry->path, entry->path);
            }
            return;
    }
}

/* bwrap still has to make mountpoints in a reopened mask; so these become read-only last. */
static void add_list(const struct launch *launch, const struct bwrap *bwrap, struct strings *argv) {
    const struct entries *entries = &launch->entries;
    for (size_t i = 0; i < entries->count; i++) {
        if (entries->item[i].made_by & MADE_BY_BWRAP) {
            add_entry(launch, bwrap, &entries->item[i], argv);
        }
    }
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        bool mask = entry->kind == ENTRY_BIND && entry->access == ACCESS_NONE && (entry->made_by & MADE_BY_BWRAP);
        if (mask && entry->is_dir && entry->reopened) {
            ADD(argv, "--remount-ro", entry->path);
        }
    }
}

static const char *start_dir(const struct launch *launch) {
    if (!path_at_or_below(launch->cwd, launch->workspace)) {
        return launch->workspace;
    }
    const struct entry *entry = entries_deciding(&launch->entries, launch->cwd);
    return entry && entry->access == ACCESS_NONE ? launch->workspace : launch->cwd;
}

static const char *identity(const struct entry *entry) {
    if (entry->access == ACCESS_NONE || entry->kind == ENTRY_MISSING || !entry->ino) {
        return "-";
    }
    return mem_text("%x:%x:%ju", major(entry->dev), minor(entry->dev), (uintmax_t)entry->ino);
}

/* What the inner stage must find mounted: everything that keeps the workload out or from writing, and the pins:
 * a writable bind through a link that was planted since would open what the link leads to. */
static void add_expected(const struct launch *launch, struct strings *argv) {
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        bool closed = entry->access == ACCESS_NONE || (entry->in_root && entry->access == ACCESS_READ);
        if (entry->pinned) {
            ADD(argv, "--pinned", identity(entry), entry->path);
        } else if (closed && entry->kind != ENTRY_LINK) {
            ADD(argv, "--expect", identity(entry), entry->path);
        }
    }
}

/* The launcher's child gets all of it here. A printed command has its environment, but for what would steer a loader:
 * that must reach no program before the workload. */
static void add_env(const struct launch *launch, bool controlled, struct strings *argv) {
    for (size_t i = 0; i < launch->env.count; i++) {
        if (controlled || env_steers_loader(launch->env.item[i])) {
            ADD(argv, "--env", launch->env.item[i]);
        }
    }
    if (controlled) {
        ADD(argv, "--env", mem_text("PWD=%s", start_dir(launch)));
    }
}

static void add_mounts(const struct launch *launch, struct strings *argv) {
    struct strings pieces = mountlist_write(&launch->entries, &launch->frozen, &launch->later);
    ADD(argv, "--chdir", start_dir(launch), "--mounts", pieces.count ? pieces.item[0] : "");
    for (size_t i = 1; i < pieces.count; i++) {
        ADD(argv, "--mounts", pieces.item[i]);
    }
}

static void add_workload(const struct launch *launch, bool controlled, struct strings *argv) {
    add_env(launch, controlled, argv);
    if (controlled) {
        ADD(argv, "--blocked-signals", mem_text("%jx", (uintmax_t)signals_blocked_at_start()));
    }
    landlock_words(launch, argv);
    limits_words(launch, controlled, argv);
    group_words(launch->new_session, controlled, argv);
    strings_add(argv, "--");
    for (char **word = launch->options.command; *word; word++) {
        strings_add(argv, *word);
    }
}

void argv_alone(const struct launch *launch, bool controlled, struct orders *orders) {
    struct strings *argv = &orders->inner;
    ADD(argv, "--chdir", start_dir(launch), "--session", launch->new_session ? "new" : "same");
    struct strings pieces = alone_places(launch);
    for (size_t i = 0; i < pieces.count; i++) {
        ADD(argv, "--places", pieces.item[i]);
    }
    add_workload(launch, controlled, argv);
}

int argv_filter(const struct launch *launch) {
    if (launch->landlock.layers & LANDLOCK_ALONE) {
        return FILTER_ALONE;
    }
    bool allowed = sockets_allowed(launch);
    int variant = allowed ? FILTER_UNIX : FILTER_NOUNIX;
    if (launch->files.filter[variant] < 0) {
        refuse("compile the policy again", "the launch plan has no %s filter for this architecture",
               allowed ? "unix" : "nounix");
    }
    return variant;
}

static void add_options(const struct launch *launch, const struct bwrap *bwrap, bool controlled, struct strings *argv) {
    bool minimal = launch->plan.root == ROOT_MINIMAL;
    add_namespaces(launch, bwrap, controlled, argv);
    if (minimal) {
        ADD(argv, "--tmpfs", "/");
    } else {
        ADD(argv, "--ro-bind", "/", "/");
    }
    add_dev(launch, bwrap, argv);
    add_list(launch, bwrap, argv);
    ADD(argv, "--proc", "/proc");
    if (minimal) {
        ADD(argv, "--remount-ro", "/");
    }
    ADD(argv, "--chdir", start_dir(launch));
}

void argv_build(struct launch *launch, const struct bwrap *bwrap, bool controlled, struct orders *orders) {
    if (bwrap->inner_mounts) {
        parts_divide(&launch->entries);
        frozen_choose(launch);
        add_mounts(launch, &orders->inner);
    } else {
        parts_leave_to_bwrap(&launch->entries);
        frozen_leave(launch);
        add_expected(launch, &orders->inner);
    }
    add_workload(launch, controlled, &orders->inner);
    add_options(launch, bwrap, controlled, &orders->bwrap);
    size_t count = BESIDE_OPTIONS + orders->bwrap.count + (controlled ? 0 : orders->inner.count);
    if (count > ARGUMENT_LIMIT) {
        refuse("deny a common parent instead of its parts", "the policy needs %zu arguments of bwrap, which takes %d",
               count, ARGUMENT_LIMIT);
    }
}

struct strings argv_line(const struct launch *launch, const struct bwrap *bwrap, const struct orders *orders) {
    struct strings line = {0};
    strings_add(&line, bwrap ? bwrap->path : launch->files.self_path);
    for (size_t i = 0; i < orders->bwrap.count; i++) {
        strings_add(&line, orders->bwrap.item[i]);
    }
    if (bwrap) {
        ADD(&line, "--", mem_text("/proc/self/fd/%d", FD_SELF));
    }
    ADD(&line, "--inner", "--filter-fd", mem_text("%d", FD_FILTER));
    for (size_t i = 0; i < orders->inner.count; i++) {
        strings_add(&line, orders->inner.item[i]);
    }
    return line;
}
