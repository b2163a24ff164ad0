#include "late.h"

#include <string.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "path.h"
#include "refuse.h"

/* Most launches have ended before. When one that watches ends, the kernel lets it wait for ten milliseconds. */
enum { SECONDS_UNTIL_WATCHED = 2 };

enum { FILES_LIMIT = 256, EVENTS = IN_CREATE | IN_MOVED_TO | IN_ONLYDIR };

struct file {
    const char *path;
    dev_t dev;
    ino_t ino; /* 0: it was not there */
    bool said;
};

static struct file files[FILES_LIMIT];
static size_t count;
static bool watched;

static void add(const char *path, dev_t dev, ino_t ino) {
    if (count < FILES_LIMIT) {
        files[count++] = (struct file){.path = path, .dev = dev, .ino = ino};
    }
}

/* The nearest directory that is there: what is missing may come with those above it. */
static void watch(int descriptor, const struct file *file) {
    char *start = mem_take(0);
    const char *dir = path_parent(file->path);
    while (inotify_add_watch(descriptor, dir, EVENTS) < 0 && strcmp(dir, "/") != 0) {
        dir = path_parent(dir);
    }
    mem_trim(start, 0); /* or a long life with many events would need it all */
}

static void look(int descriptor, struct file *file) {
    struct stat st;
    if (file->said) {
        return;
    }
    bool there = lstat(file->path, &st) == 0;
    if (!there && descriptor >= 0) {
        watch(descriptor, file);
        there = lstat(file->path, &st) == 0; /* it may have come with its directory */
    }
    if (there && (st.st_dev != file->dev || st.st_ino != file->ino)) {
        file->said = true;
        warn("%s, which the policy denies, was %s: it is open to this sandbox now", file->path,
             file->ino ? "replaced" : "made");
    }
}

int late_watch(const struct launch *launch) {
    count = 0;
    watched = false; /* a second attempt at the sandbox watches anew */
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        bool denied = entry->access == ACCESS_NONE && entry->kind == ENTRY_BIND && (!entry->is_dir || entry->secret);
        if (denied && !frozen_hides(launch, path_parent(entry->path))) {
            add(entry->path, entry->dev, entry->ino);
        }
    }
    for (size_t i = 0; i < launch->absent.count; i++) {
        if (!frozen_hides(launch, launch->absent_in.item[i])) {
            add(launch->absent.item[i], 0, 0);
        }
    }
    if (count == 0) {
        return -1;
    }
    const struct itimerspec soon = {.it_value = {.tv_sec = SECONDS_UNTIL_WATCHED}};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    timerfd_settime(timer, 0, &soon, NULL);
    return timer;
}

static void look_at_all(int descriptor) {
    for (size_t i = 0; i < count; i++) {
        look(descriptor, &files[i]);
    }
}

static int start(int timer) {
    close(timer);
    watched = true;
    int descriptor = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    for (size_t i = 0; descriptor >= 0 && i < count; i++) {
        watch(descriptor, &files[i]);
    }
    return descriptor;
}

int late_look(int descriptor) {
    char events[4096];
    if (!watched) {
        descriptor = start(descriptor);
    }
    while (read(descriptor, events, sizeof events) > 0) {
    }
    look_at_all(descriptor);
    return descriptor;
}

void late_end(void) {
    look_at_all(-1);
}
