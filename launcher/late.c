#include "late.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "path.h"
#include "refuse.h"

enum { FILES_LIMIT = 256, EVENTS = IN_CREATE | IN_MOVED_TO | IN_ONLYDIR };

struct file {
    const char *path;
    dev_t dev;
    ino_t ino; /* 0: it was not there */
    bool said;
};

static struct file files[FILES_LIMIT];
static size_t count;

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
    if (!there) {
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
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        if (entry->access == ACCESS_NONE && entry->kind == ENTRY_BIND && !entry->is_dir) {
            add(entry->path, entry->dev, entry->ino);
        }
    }
    for (size_t i = 0; i < launch->absent.count; i++) {
        add(launch->absent.item[i], 0, 0);
    }
    int descriptor = count ? inotify_init1(IN_CLOEXEC | IN_NONBLOCK) : -1;
    for (size_t i = 0; descriptor >= 0 && i < count; i++) {
        watch(descriptor, &files[i]);
        look(descriptor, &files[i]);
    }
    return descriptor;
}

void late_look(int descriptor) {
    char events[4096];
    while (read(descriptor, events, sizeof events) > 0) {
    }
    for (size_t i = 0; i < count; i++) {
        look(descriptor, &files[i]);
    }
}
