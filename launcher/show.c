#include "show.h"

#include <stdio.h>
#include <string.h>

#include "alone.h"
#include "control.h"
#include "env.h"
#include "refuse.h"

/* As shlex.quote: bare where nothing is special, otherwise in single quotes. */
static void put_quoted(const char *word) {
    const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_";
    if (word[0] && word[strspn(word, safe)] == '\0') {
        fputs(word, stdout);
        return;
    }
    putchar('\'');
    for (; *word; word++) {
        if (*word == '\'') {
            fputs("'\"'\"'", stdout);
        } else {
            putchar(*word);
        }
    }
    putchar('\'');
}

void show_command(const struct launch *launch, const struct strings *argv, int filter) {
    fputs("env -i", stdout);
    for (size_t i = 0; i < launch->env.count; i++) {
        if (!env_steers_loader(launch->env.item[i])) { /* those are among the inner stage's words */
            putchar(' ');
            put_quoted(launch->env.item[i]);
        }
    }
    for (size_t i = 0; i < argv->count; i++) {
        putchar(' ');
        put_quoted(argv->item[i]);
    }
    printf(" %d<", FD_SELF);
    put_quoted(launch->files.self_path);
    printf(" %d<", FD_FILTER);
    put_quoted(launch->files.filter_path[filter]);
    putchar('\n');
}

static const char *words(const struct entry *entry) {
    switch (entry->kind) {
        case ENTRY_TMP:
            return "private";
        case ENTRY_MISSING:
            return "absent";
        case ENTRY_DEVICE:
            return "device";
        case ENTRY_LINK:
            return "link";
        case ENTRY_BIND:
        case ENTRY_PIN:
            break;
    }
    return entry->access == ACCESS_WRITE ? "write" : entry->access == ACCESS_READ ? "read" : "none";
}

/* A name in a workspace can hold a line's end, and with it whole lines that nobody wrote. */
static const char *one_line(const char *path) {
    char *text = mem_take(4 * strlen(path) + 1);
    char *at = text;
    for (size_t escaped = 0; *path; path++) {
        escaped = escaped ? escaped : *path == '\\' ? 1 : control_at(path);
        if (escaped) {
            escaped--;
            at += sprintf(at, "\\%03o", (unsigned char)*path);
        } else {
            *at++ = *path;
        }
    }
    *at = '\0';
    return text;
}

static void line(const char *what, const char *path, const char *why) {
    printf("%-9s %s  (%s)\n", what, one_line(path), why);
}

static void skipped(const char *path, const char *reason) {
    printf("%-9s %s: %s\n", "skipped", one_line(path), reason);
}

/* What comes later, and is denied. Landlock alone grants only what is there. */
static void show_later(const struct launch *launch, bool alone) {
    for (size_t i = 0; i < launch->absent.count && alone; i++) {
        line("none", launch->absent.item[i], "rule; it does not exist, and stays closed once it is made");
    }
    if (alone) {
        return;
    }
    for (size_t i = 0; i < launch->frozen.count; i++) {
        line("snapshot", launch->frozen.item[i].path,
             "names as they are at launch: something denied may get another file");
    }
    for (size_t i = 0; i < launch->frozen.left.count; i++) {
        skipped(launch->frozen.left.item[i], "has too many names for a snapshot, or cannot be listed: "
                                             "what is denied in it can be read once it is made or replaced");
    }
    for (size_t i = 0; i < launch->absent.count; i++) {
        bool hidden = frozen_hides(launch, launch->absent_in.item[i]);
        skipped(launch->absent.item[i], hidden ? "does not exist, and is not seen when it is made"
                                               : "does not exist, and can be read once it is made");
    }
}

static void show_maker(const struct launch *launch, const char *bwrap) {
    if (!bwrap) {
        line("alone", "no bubblewrap and no namespace: Landlock and seccomp", "allow_host_mounts; it means the same here");
        line("pids", "the host's", "allow_host_pids");
        return;
    }
    line("bwrap", bwrap, launch->files.managed ? "this machine's" : "first on PATH outside what is writable");
    line("user", "namespaces for users, IPC, host name and cgroups", "always");
    line("pids", launch->host_pids ? "the host's" : "only the sandbox's",
         launch->host_pids ? "allow_host_pids, and /proc is masked here" : "always");
    if (alone_is_accepted(launch)) {
        const char *problem = alone_problem(launch);
        line("fallback", problem ? "none" : "Landlock alone, where no namespace can be made",
             problem ? problem : "allow_host_mounts");
    }
}

static const char *sockets_of(int filter) {
    return filter == FILTER_UNIX    ? "AF_UNIX allowed"
           : filter == FILTER_ALONE ? "no AF_UNIX, no change of modes and times, no System V objects"
                                    : "no AF_UNIX";
}

void show_words(const struct launch *launch, const char *bwrap, int filter) {
    const struct plan *plan = &launch->plan;
    line("policy", plan->policy, plan->digest);
    show_maker(launch, bwrap);
    line("network", plan->network == NETWORK_NONE ? "loopback only" : "the host's", "network.mode");
    line("seccomp", launch->files.filter_path[filter], sockets_of(filter));
    landlock_show(launch);
    limits_show(launch);
    line(plan->root == ROOT_HOST ? "read" : "none", "/", "filesystem.root");
    line(bwrap ? "private" : "none", "/dev", bwrap ? "default" : "but for null, zero, full, random, urandom and tty");
    for (size_t i = 0; i + 1 < launch->gpu_shown.count; i += 2) {
        line("gpu", launch->gpu_shown.item[i], launch->gpu_shown.item[i + 1]);
    }
    if (launch->gpu_problem) {
        line("gpu", launch->gpu_bound ? "not usable" : "none", launch->gpu_problem);
    }
    for (size_t i = 0; i < launch->devices.count; i++) {
        line("device", launch->devices.item[i], launch->gpu_bound ? "GPU found at launch, or named" : "named");
    }
    if (bwrap) {
        line("private", "/dev/shm", "default");
    }
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        line(words(entry), entry->path, entry->why);
    }
    line(bwrap ? "private" : "read", "/proc", "default");
    show_later(launch, !bwrap);
    for (size_t i = 0; i < launch->skipped.count; i++) {
        printf("%-9s %s\n", "skipped", one_line(launch->skipped.item[i]));
    }
}
