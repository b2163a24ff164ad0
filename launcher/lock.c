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

enum { RECORD_LIMIT = 256 * 1024, SET_LENGTH = 21, TRIES = 200, PAUSE_NS = 10 * 1000 * 1000 };

#define BUSY_HINT "wait for the other sandbox to end"

/* What the clean-up at exit needs: the process has one set of locks. */
static struct {
    const char *dir;
    const struct roots *roots;
    int locks;
    int *record;     /* per root, open until settled */
    bool *exclusive; /* per root, until settled */
} held = {.locks = -1};

#define HASH_START UINT64_C(0xcbf29ce484222325) /* FNV-1a */

static uint64_t mix(uint64_t hash, const char *text) {
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    } while (*text++);
    return hash;
}

static uint64_t root_key(const struct root *root) {
    char text[64];
    snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)root->dev, (uintmax_t)root->ino);
    return mix(HASH_START, text) >> 1; /* an offset is signed */
}

static bool set_lock(int fd, const struct root *root, short type) {
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)root_key(root), .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &range) == 0;
}

static const char *record_path(const char *dir, const struct root *root) {
    return path_join(dir, mem_text("root-%016jx", (uintmax_t)root_key(root)));
}

/* Guards a root's record; held for moments only, so that waiting for it is bounded. Who waits may get the
 * lock of a file that was removed meanwhile: then it looks again. */
static int open_record(const char *dir, const struct root *root) {
    const char *path = record_path(dir, root);
    for (int i = 0; i < TRIES; i++) {
        struct stat st;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return -1;
        }
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (locked && fstat(fd, &st) == 0 && st.st_nlink > 0) {
            return fd;
        }
        close(fd);
        if (!locked) {
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        }
    }
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

/* Removes REL below the root if it is an empty directory; what is not empty has become somebody's own. False
 * when it is still there and still ours, because a directory on the way is closed just now. */
static bool remove_mountpoint(int root, const char *rel) {
    const char *slash = strrchr(rel, '/');
    int parent = open_beneath(root, slash ? mem_copy(rel, (size_t)(slash - rel)) : "");
    if (parent < 0) {
        return errno != EACCES;
    }
    bool settled = unlinkat(parent, slash ? slash + 1 : rel, AT_REMOVEDIR) == 0 || errno == ENOENT ||
                   errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
    close(parent);
    return settled;
}

/* A record is "set HASH", which stays, and one "made REL" per mountpoint. */
static struct strings read_made(int record) {
    struct strings made = {0};
    size_t length;
    lseek(record, 0, SEEK_SET);
    char *text = read_limited(record, RECORD_LIMIT, &length, "a record of mountpoints");
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "made ", 5) == 0 && path_is_plain_relative(line + 5)) {
            strings_add(&made, line + 5);
        }
    }
    return made;
}

static bool records_mountpoints(int record) {
    struct stat st;
    return fstat(record, &st) != 0 || st.st_size > SET_LENGTH;
}

/* Cut, never emptied: ext4 writes a file that was emptied to the disk as soon as it is closed. */
static bool remove_recorded(int record, const struct root *root) {
    if (!records_mountpoints(record)) {
        return true;
    }
    struct strings made = read_made(record);
    bool settled = true;
    int fd = made.count ? open_root(root) : -1;
    for (size_t i = 0; fd >= 0 && i < made.count; i++) {
        settled = remove_mountpoint(fd, made.item[i]) && settled;
    }
    if (fd >= 0) {
        close(fd);
    }
    return !settled || ftruncate(record, SET_LENGTH) == 0;
}

/* What concurrent launches over one root must agree on, or one could undo what protects the other. */
static const char *set_line(const struct strings *agreed, const struct root *root) {
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < agreed->count; i++) {
        const char *path = strchr(agreed->item[i], '/');
        if (path_below(path, root->path)) {
            hash = mix(hash, agreed->item[i]);
        }
    }
    return mem_text("set %016jx\n", (uintmax_t)hash);
}

static bool has_set(int record, const char *set) {
    char have[SET_LENGTH];
    return pread(record, have, SET_LENGTH, 0) == SET_LENGTH && memcmp(have, set, SET_LENGTH) == 0;
}

static void check_same_set(int record, const struct root *root, const char *set) {
    if (!has_set(record, set)) {
        refuse(BUSY_HINT ", or use the same policy as it does",
               "another sandbox works in %s and protects other names there than this one would", root->path);
    }
}

static const char *below_root(const struct root *root, const char *path) {
    return path + strlen(root->path) + (root->path[1] ? 1 : 0);
}

/* The parent directory is pinned by a descriptor and every component of the way is checked for links. */
static bool make_mountpoint(int root_fd, const struct root *root, struct entry *entry) {
    const char *rel = below_root(root, entry->path);
    const char *slash = strrchr(rel, '/');
    int parent = open_beneath(root_fd, slash ? mem_copy(rel, (size_t)(slash - rel)) : "");
    const char *name = slash ? slash + 1 : rel;
    struct stat st;
    if (parent < 0) {
        refuse("start again", "the way to %s changed while the sandbox was being prepared", entry->path);
    }
    int problem = mkdirat(parent, name, 0755) == 0 ? 0 : errno;
    bool there = fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    struct stat above;
    bool ours = fstat(parent, &above) != 0 || above.st_uid == geteuid();
    close(parent);
    if (there && S_ISDIR(st.st_mode)) {
        entry->dev = st.st_dev;
        entry->ino = st.st_ino;
        return true;
    }
    if (there) {
        refuse("start again, or remove it", "%s appeared while the sandbox was being prepared", entry->path);
    }
    if (problem != EACCES && problem != EPERM && problem != EROFS) {
        refuse("make room there", "cannot make the mountpoint %s: %s", entry->path, strerror(problem));
    }
    if (ours && problem != EROFS) { /* the workload, the same user, would open it and make the name itself */
        refuse("make its directory writable again: chmod u+w", "cannot make the mountpoint %s: %s", entry->path,
               strerror(problem));
    }
    return false;
}

static bool is_mine(const struct entry *entry, const struct roots *roots, const struct root *root) {
    return entry->kind == ENTRY_MISSING && roots_holding(roots, entry->path) == root;
}

static void write_whole(int file, const char *text, off_t at) {
    size_t length = strlen(text);
    if (pwrite(file, text, length, at) != (ssize_t)length) {
        refuse("make room in the state directory", "cannot write a record of mountpoints: %s", strerror(errno));
    }
}

/* Written before anything is made, so that a crash leaves no residue that nobody knows of. Only what is not
 * there: an empty directory that appeared since is somebody's own. */
static void write_made(int file, const struct roots *roots, const struct root *root, const struct entries *entries) {
    const char *text = "";
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        struct stat st;
        if (is_mine(entry, roots, root) && lstat(entry->path, &st) != 0) {
            text = mem_text("%smade %s\n", text, below_root(root, entry->path));
        }
    }
    if (*text) {
        write_whole(file, text, lseek(file, 0, SEEK_END));
    }
}

static void make_mountpoints(const struct roots *roots, const struct root *root, struct entries *entries) {
    int fd = -1;
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry *entry = &entries->item[i];
        bool keep = true;
        if (is_mine(entry, roots, root)) {
            fd = fd >= 0 ? fd : open_root(root);
            if (fd < 0) {
                refuse("start again", "the directory %s changed while the sandbox was being prepared", root->path);
            }
            keep = make_mountpoint(fd, root, entry);
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

/* Exclusive when nobody else is there; shared otherwise. */
static void lock_root(size_t index, struct roots *roots) {
    const struct root *root = &roots->item[index];
    int record = open_record(held.dir, root);
    if (record < 0) {
        refuse(BUSY_HINT, "cannot lock %s: another launch is holding its record", root->path);
    }
    held.record[index] = record;
    held.exclusive[index] = set_lock(held.locks, root, F_WRLCK);
    if (held.exclusive[index]) {
        if (!remove_recorded(record, root)) {
            refuse("", "cannot write the record of %s: %s", root->path, strerror(errno));
        }
        return;
    }
    if (!set_lock(held.locks, root, F_RDLCK)) {
        refuse(BUSY_HINT, "cannot lock %s: %s", root->path, strerror(errno));
    }
    struct strings made = read_made(record);
    for (size_t i = 0; i < made.count; i++) {
        strings_add(&roots->made, path_join(root->path, made.item[i]));
    }
}

static int compare_text(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

void lock_settle(const struct strings *agreed, struct entries *entries) {
    if (agreed->count) {
        qsort(agreed->item, agreed->count, sizeof *agreed->item, compare_text);
    }
    for (size_t i = 0; i < held.roots->count; i++) {
        const struct root *root = &held.roots->item[i];
        const char *set = set_line(agreed, root);
        if (!held.exclusive[i]) {
            check_same_set(held.record[i], root, set);
        } else if (!has_set(held.record[i], set)) {
            write_whole(held.record[i], set, 0);
        }
        write_made(held.record[i], held.roots, root, entries);
        make_mountpoints(held.roots, root, entries);
        set_lock(held.locks, root, F_RDLCK);
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

/* At exit, after the last process of the sandbox. Roots come outermost first: while another launch still
 * holds a root, nothing below it is touched. */
static void clean_up(void) {
    bool *kept = mem_take(held.roots->count * sizeof *kept);
    for (size_t i = 0; i < held.roots->count; i++) {
        const struct root *root = &held.roots->item[i];
        int record = held.record[i] >= 0 ? held.record[i] : open_record(held.dir, root);
        kept[i] = record < 0 || lies_in_kept(held.roots, kept, i) || !set_lock(held.locks, root, F_WRLCK);
        if (!kept[i]) {
            if (!remove_recorded(record, root)) {
                unlink(record_path(held.dir, root));
            }
            set_lock(held.locks, root, F_UNLCK); /* before the next launch can open the record */
        }
        if (record >= 0) {
            close(record);
        }
    }
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
    for (size_t i = 0; i < roots->count; i++) {
        held.record[i] = -1;
    }
    atexit(clean_up);
    for (size_t i = 0; i < roots->count; i++) {
        lock_root(i, roots);
    }
    return held.locks;
}
