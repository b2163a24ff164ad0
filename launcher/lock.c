#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fds.h"
#include "files.h"
#include "mem.h"
#include "path.h"
#include "refuse.h"

enum { RECORD_LIMIT = 256 * 1024, TRIES = 200, PAUSE_NS = 10 * 1000 * 1000 };

#define BUSY_HINT "wait for the other sandbox to end"

/* What the clean-up at exit needs: the process has one set of locks. */
static struct {
    const char *dir;
    const struct roots *roots;
    int locks;
} held = {.locks = -1};

static uint64_t mix(uint64_t hash, const char *text) {
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3); /* FNV-1a */
    } while (*text++);
    return hash;
}

static uint64_t root_key(const struct root *root) {
    char text[64];
    snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)root->dev, (uintmax_t)root->ino);
    return mix(UINT64_C(0xcbf29ce484222325), text) >> 1; /* an offset is signed */
}

static bool set_lock(int fd, const struct root *root, short type) {
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)root_key(root), .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &range) == 0;
}

/* Guards a root's record; held for moments only, so that waiting for it is bounded. */
static int open_record(const char *dir, const struct root *root) {
    const char *path = path_join(dir, mem_text("root-%016jx", (uintmax_t)root_key(root)));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -1;
    }
    for (int i = 0; i < TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return fd;
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    close(fd);
    return -1;
}

static int open_root(const struct root *root) {
    int fd = open(root->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_dev != root->dev || st.st_ino != root->ino)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Removes REL below the root if it is an empty directory; what is not empty has become somebody's own. */
static void remove_mountpoint(int root, const char *rel) {
    if (!path_is_plain_relative(rel)) {
        return;
    }
    const char *slash = strrchr(rel, '/');
    int parent = open_beneath(root, slash ? mem_copy(rel, (size_t)(slash - rel)) : "");
    if (parent >= 0) {
        unlinkat(parent, slash ? slash + 1 : rel, AT_REMOVEDIR);
        close(parent);
    }
}

/* A record is "set HASH" and one "made REL" per mountpoint. */
static void remove_recorded(int record, const struct root *root) {
    size_t length;
    lseek(record, 0, SEEK_SET);
    char *text = read_limited(record, RECORD_LIMIT, &length, "a record of mountpoints");
    int fd = open_root(root);
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); fd >= 0 && line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "made ", 5) == 0) {
            remove_mountpoint(fd, line + 5);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void append_line(int record, const char *line) {
    size_t length = strlen(line);
    if (lseek(record, 0, SEEK_END) < 0 || write(record, line, length) != (ssize_t)length) {
        refuse("make room in the state directory", "cannot record a mountpoint: %s", strerror(errno));
    }
}

/* What concurrent launches over one root must agree on, or one could undo what protects the other. */
static const char *set_line(const struct entries *entries, const struct root *root) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        if (entry->agreed && path_below(entry->path, root->path)) {
            hash = mix(mix(hash, entry->path), entry->access == ACCESS_NONE ? "none" : "read");
        }
    }
    return mem_text("set %016jx\n", (uintmax_t)hash);
}

static void check_same_set(int record, const struct root *root, const char *set) {
    char have[64] = "";
    ssize_t length = pread(record, have, strlen(set), 0);
    if (length != (ssize_t)strlen(set) || memcmp(have, set, strlen(set)) != 0) {
        refuse(BUSY_HINT ", or use the same policy as it does",
               "another sandbox works in %s and protects other names there than this one would", root->path);
    }
}

/* The parent directory is pinned by a descriptor and every component of the way is checked for links. */
static bool make_mountpoint(int record, int root_fd, const struct root *root, const struct entry *entry) {
    const char *rel = entry->path + strlen(root->path) + (root->path[1] ? 1 : 0);
    const char *slash = strrchr(rel, '/');
    int parent = open_beneath(root_fd, slash ? mem_copy(rel, (size_t)(slash - rel)) : "");
    const char *name = slash ? slash + 1 : rel;
    struct stat st;
    if (parent < 0) {
        refuse("start again", "the way to %s changed while the sandbox was being prepared", entry->path);
    }
    bool there = fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there) {
        append_line(record, mem_text("made %s\n", rel)); /* first, so that a crash between the two leaves no residue */
        if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST) {
            bool closed_to_us = errno == EACCES || errno == EPERM || errno == EROFS;
            if (!closed_to_us) {
                refuse("make room there", "cannot make the mountpoint %s: %s", entry->path, strerror(errno));
            }
            close(parent);
            return false;
        }
        there = fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    }
    close(parent);
    if (!there || !S_ISDIR(st.st_mode)) {
        refuse("start again, or remove it", "%s appeared while the sandbox was being prepared", entry->path);
    }
    return true;
}

static void make_mountpoints(int record, const struct roots *roots, const struct root *root, struct entries *entries) {
    int fd = -1;
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        bool keep = true;
        if (entry->kind == ENTRY_MISSING && roots_holding(roots, entry->path) == root) {
            fd = fd >= 0 ? fd : open_root(root);
            if (fd < 0) {
                refuse("start again", "the directory %s changed while the sandbox was being prepared", root->path);
            }
            keep = make_mountpoint(record, fd, root, entry);
        }
        if (keep) {
            entries->item[kept++] = *entry;
        }
    }
    entries->count = kept;
    if (fd >= 0) {
        close(fd);
    }
}

static void lock_root(int locks, const struct root *root, struct entries *entries) {
    int record = open_record(held.dir, root);
    if (record < 0) {
        refuse(BUSY_HINT, "cannot lock %s: another launch is holding its record", root->path);
    }
    const char *set = set_line(entries, root);
    if (set_lock(locks, root, F_WRLCK)) {
        remove_recorded(record, root);
        if (ftruncate(record, 0) != 0) {
            refuse("", "cannot write the record of %s: %s", root->path, strerror(errno));
        }
        append_line(record, set);
        set_lock(locks, root, F_RDLCK);
    } else if (set_lock(locks, root, F_RDLCK)) {
        check_same_set(record, root, set);
    } else {
        refuse(BUSY_HINT, "cannot lock %s: %s", root->path, strerror(errno));
    }
    make_mountpoints(record, held.roots, root, entries);
    close(record);
}

static bool lies_in_kept(const struct roots *roots, const bool *kept, const struct root *root) {
    for (size_t i = 0; i < roots->count; i++) {
        if (kept[i] && path_at_or_below(root->path, roots->item[i].path)) {
            return true;
        }
    }
    return false;
}

/* At exit, after the last process of the sandbox. Roots come outermost first: while another launch still
 * holds a root, nothing below it is touched. */
static void clean_up(void) {
    if (held.locks < 0) {
        return;
    }
    bool *kept = mem_take(held.roots->count * sizeof *kept + 1);
    for (size_t i = 0; i < held.roots->count; i++) {
        const struct root *root = &held.roots->item[i];
        int record = open_record(held.dir, root);
        kept[i] = record < 0 || lies_in_kept(held.roots, kept, root) || !set_lock(held.locks, root, F_WRLCK);
        if (!kept[i]) {
            remove_recorded(record, root);
            unlink(path_join(held.dir, mem_text("root-%016jx", (uintmax_t)root_key(root))));
        }
        if (record >= 0) {
            close(record);
        }
    }
}

int lock_roots(const char *state_dir, const struct roots *roots, struct entries *entries) {
    const char *path = path_join(state_dir, "locks");
    int locks = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (locks < 0) {
        refuse("make room in the state directory", "cannot open %s: %s", path, strerror(errno));
    }
    locks = fd_high(locks);
    held.dir = state_dir;
    held.roots = roots;
    held.locks = locks;
    atexit(clean_up);
    for (size_t i = 0; i < roots->count; i++) {
        lock_root(locks, &roots->item[i], entries);
    }
    return locks;
}
