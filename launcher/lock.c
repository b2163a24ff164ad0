#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fds.h"
#include "mountpoint.h"
#include "path.h"
#include "record.h"
#include "refuse.h"

enum { TRIES = 1000, PAUSE_NS = 10 * 1000 * 1000 };

#define BUSY_HINT "wait for the other sandbox to end"

/* What the clean-up at exit needs: the process has one set of locks. */
static struct {
    const char *dir;
    const struct roots *roots;
    int locks;
    size_t *first;   /* per root, the first that is the same directory: it has the lock and the record */
    int *record;     /* per root, open until settled */
    bool *exclusive; /* per root, until settled */
} held = {.locks = -1};

/* Every directory has two bytes: one for who works in it, one for who has something to protect further below. */
enum range { RANGE_WORK, RANGE_GUARDED_BELOW };

static struct flock range_of(const struct root *root, enum range range, short type) {
    off_t start = (off_t)(record_key(root) * 2) + range;
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
}

static bool set_lock(const struct root *root, enum range range, short type) {
    struct flock lock = range_of(root, range, type);
    return fcntl(held.locks, F_OFD_SETLK, &lock) == 0;
}

static bool is_held_by_another(const struct root *root, enum range range) {
    struct flock lock = range_of(root, range, F_WRLCK);
    return fcntl(held.locks, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static void check_same_set(int record, const struct root *root, const char *set) {
    if (!record_has_set(record, set)) {
        refuse(BUSY_HINT ", or use the same policy as it does",
               "another sandbox (policy %s) works in %s and protects other names there than this one would",
               record_policy(record), root->path);
    }
}

static bool is_own(const struct root *root) {
    for (size_t i = 0; i < held.roots->count; i++) {
        if (held.roots->item[i].dev == root->dev && held.roots->item[i].ino == root->ino) {
            return true;
        }
    }
    return false;
}

/* Whoever works in a directory further up could move what is protected here: both say so before they look.
 * Who shares a root of ours protects the same below it, or is refused for that. */
static void check_further_up(const struct root *root) {
    char path[PATH_LIMIT];
    strcpy(path, root->path);
    for (char *slash; (slash = strrchr(path, '/')) && slash != path;) {
        *slash = '\0';
        struct stat st;
        if (lstat(path, &st) != 0) {
            continue;
        }
        struct root above = {path, st.st_dev, st.st_ino};
        if (is_own(&above)) {
            continue;
        }
        if (!set_lock(&above, RANGE_GUARDED_BELOW, F_RDLCK) || is_held_by_another(&above, RANGE_WORK)) {
            refuse(BUSY_HINT ", or work in the same directory as it does",
                   "another sandbox works in %s and could move what this one protects in %s", path, root->path);
        }
    }
}

static void check_nesting(const struct root *root, bool guarded) {
    if (guarded) {
        check_further_up(root);
    }
    if (is_held_by_another(root, RANGE_GUARDED_BELOW)) {
        refuse(BUSY_HINT ", or work in the same directory as it does",
               "another sandbox works further below %s, and this one could move what is protected there", root->path);
    }
}

static void add_made(struct roots *roots, size_t index, const struct strings *made) {
    for (size_t i = index; i < roots->count; i++) {
        for (size_t m = 0; held.first[i] == index && m < made->count; m++) {
            strings_add(&roots->made, path_join(roots->item[i].path, made->item[m]));
        }
    }
}

/* Who has it alone has its record as well, but for a moment: what a killed launcher leaves is ending. */
static bool wait_for_lock(const struct root *root) {
    for (int i = 0; i < TRIES; i++) {
        if (set_lock(root, RANGE_WORK, F_RDLCK)) {
            return true;
        }
        if (errno != EAGAIN && errno != EACCES) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return false;
}

/* Exclusive when nobody else is there; shared otherwise. */
static void lock_root(size_t index, struct roots *roots) {
    const struct root *root = &roots->item[index];
    int record = record_open(held.dir, root);
    if (record < 0) {
        refuse(BUSY_HINT, "cannot lock %s: another launch is holding its record", root->path);
    }
    held.record[index] = record;
    held.exclusive[index] = set_lock(root, RANGE_WORK, F_WRLCK);
    if (held.exclusive[index]) {
        if (!mountpoints_remove(record, root)) {
            refuse("", "cannot write the record of %s: %s", root->path, strerror(errno));
        }
        return;
    }
    if (!wait_for_lock(root)) {
        refuse(BUSY_HINT, "cannot lock %s: %s", root->path, strerror(errno));
    }
    const struct strings made = record_made(record);
    add_made(roots, index, &made);
}

static void make_mountpoints(size_t index, struct entries *entries) {
    for (size_t i = index; i < held.roots->count; i++) {
        if (held.first[i] == index) {
            mountpoints_record(held.record[index], held.roots, &held.roots->item[i], entries);
            mountpoints_make(held.roots, &held.roots->item[i], entries);
        }
    }
}

void lock_settle(const char *policy, struct strings *agreed, struct entries *entries) {
    record_sort(agreed);
    for (size_t i = 0; i < held.roots->count; i++) {
        if (held.first[i] != i) {
            continue;
        }
        const struct root *root = &held.roots->item[i];
        bool guarded;
        const char *set = record_set(agreed, root, &guarded);
        if (!held.exclusive[i]) {
            check_same_set(held.record[i], root, set);
        } else if (!record_has_set(held.record[i], set)) {
            record_write_set(held.record[i], set, policy);
        }
        check_nesting(root, guarded);
        make_mountpoints(i, entries);
        set_lock(root, RANGE_WORK, F_RDLCK);
        close(held.record[i]);
        held.record[i] = -1;
    }
}

static bool lies_in_kept(const struct roots *roots, const bool *kept, size_t index) {
    for (size_t i = 0; i < index; i++) {
        if (kept[i] && path_at_or_below(roots->item[index].path, roots->item[i].path)) {
            return true;
        }
    }
    return false;
}

/* Another launch works there: the clean-up is its own now, that of whatever lies below as well. Let go before it can look,
 * or each of two would leave it to the other. */
static void leave(size_t index) {
    const struct roots *roots = held.roots;
    for (size_t i = index; i < roots->count; i++) {
        if (path_at_or_below(roots->item[i].path, roots->item[index].path)) {
            set_lock(&roots->item[i], RANGE_WORK, F_UNLCK);
        }
    }
}

/* False when the root is another launch's from now on. The lock ends before anybody else can open the record. */
static bool clean_up_root(size_t index) {
    const struct root *root = &held.roots->item[index];
    int record = held.record[index] >= 0 ? held.record[index] : record_open(held.dir, root);
    if (record < 0) {
        return false;
    }
    bool alone = set_lock(root, RANGE_WORK, F_WRLCK);
    if (!alone) {
        leave(index);
    } else {
        if (!mountpoints_remove(record, root)) {
            record_remove(held.dir, root);
        }
        set_lock(root, RANGE_WORK, F_UNLCK);
    }
    close(record);
    return alone;
}

/* At exit, after the last process of the sandbox. Roots come outermost first: while another launch still
 * holds a root, nothing below it is touched. */
static void clean_up(void) {
    bool *kept = mem_take(held.roots->count * sizeof *kept);
    for (size_t i = 0; i < held.roots->count; i++) {
        size_t first = held.first[i];
        kept[i] = first != i ? kept[first] : lies_in_kept(held.roots, kept, i) || !clean_up_root(i);
    }
}

static size_t first_same(const struct roots *roots, size_t index) {
    const struct root *root = &roots->item[index];
    size_t first = 0;
    while (roots->item[first].dev != root->dev || roots->item[first].ino != root->ino) {
        first++;
    }
    return first;
}

int lock_roots(const char *state_dir, struct roots *roots) {
    const char *path = path_join(state_dir, "locks");
    int locks = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (locks < 0) {
        refuse("make room in the state directory", "cannot open %s: %s", path, strerror(errno));
    }
    held.dir = state_dir;
    held.roots = roots;
    held.locks = fd_high(locks);
    held.record = mem_take(roots->count * sizeof *held.record);
    held.exclusive = mem_take(roots->count * sizeof *held.exclusive);
    held.first = mem_take(roots->count * sizeof *held.first);
    for (size_t i = 0; i < roots->count; i++) {
        held.record[i] = -1;
        held.first[i] = first_same(roots, i);
    }
    atexit(clean_up);
    for (size_t i = 0; i < roots->count; i++) {
        if (held.first[i] == i) {
            lock_root(i, roots);
        }
    }
    return held.locks;
}
