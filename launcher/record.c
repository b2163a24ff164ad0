#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "mountinfo.h"
#include "mountlist.h"
#include "path.h"
#include "plan.h"
#include "refuse.h"

enum { RECORD_LIMIT = 256 * 1024, SET_LENGTH = 20, NAME_LENGTH = 128, TRIES = 1000, PAUSE_NS = 10 * 1000 * 1000 };
enum { HEAD_LENGTH = SET_LENGTH + 1 + NAME_LENGTH + 1 }; /* "set HASH", a blank, the policy, blanks, a newline */

#define HASH_START UINT64_C(0xcbf29ce484222325) /* FNV-1a */

static uint64_t mix(uint64_t hash, const char *text) {
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    } while (*text++);
    return hash;
}

uint64_t record_key(const struct root *root) {
    char text[64];
    snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)root->dev, (uintmax_t)root->ino);
    return mix(HASH_START, text) >> 2; /* an offset is signed, and every root has two */
}

static const char *record_path(const char *dir, const struct root *root) {
    return path_join(dir, mem_text("root-%016jx", (uintmax_t)record_key(root)));
}

/* Who waits may get the lock of a file that was removed meanwhile: then it looks again. */
int record_open(const char *dir, const struct root *root) {
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

void record_remove(const char *dir, const struct root *root) {
    unlink(record_path(dir, root));
}

struct strings record_made(int record) {
    struct strings made = {0};
    size_t length;
    lseek(record, 0, SEEK_SET);
    char *text = read_limited(record, RECORD_LIMIT, &length, "a record of mountpoints");
    for (char *end; (end = strchr(text, '\n')); text = end + 1) { /* one without its end was cut off: another name */
        *end = '\0';
        if (strncmp(text, "made ", 5) != 0) {
            continue;
        }
        mountinfo_unescape(text + 5);
        if (path_is_relative(text + 5)) {
            strings_add(&made, text + 5);
        }
    }
    return made;
}

bool record_is_empty(int record) {
    struct stat st;
    return fstat(record, &st) == 0 && st.st_size <= HEAD_LENGTH;
}

static void write_whole(int record, const char *text, off_t at) {
    ssize_t done;
    off_t start = at;
    for (size_t length = strlen(text); length; length -= (size_t)done) {
        done = pwrite(record, text, length, at);
        if (done < 0) {
            int problem = errno;
            const char *hint = problem == EFBIG ? "raise ulimit -f" : "make room in the state directory";
            int cut = ftruncate(record, start); /* or the next line would begin in the middle of this one */
            refuse(hint, "cannot write a record of mountpoints: %s", strerror(cut == 0 ? problem : errno));
        }
        text += done;
        at += done;
    }
}

void record_add(int record, const struct strings *made) {
    size_t length = 1;
    for (size_t i = 0; i < made->count; i++) {
        length += strlen("made \n") + 4 * strlen(made->item[i]);
    }
    char *text = mem_take(length);
    char *at = text;
    for (size_t i = 0; i < made->count; i++) { /* a workload's names may hold lines of their own */
        at = put_escaped(stpcpy(at, "made "), made->item[i]);
        *at++ = '\n';
    }
    *at = '\0';
    off_t end = lseek(record, 0, SEEK_END);
    if (end + (at - text) > RECORD_LIMIT) { /* nobody could read it again */
        refuse("work in another directory, or take repositories out of it",
               "what would have to be protected in the workspace fills more than %d bytes", RECORD_LIMIT);
    }
    if (made->count) {
        write_whole(record, text, end);
    }
}

/* Cut, never emptied: ext4 writes a file that was emptied to the disk as soon as it is closed. */
bool record_cut(int record) {
    return ftruncate(record, HEAD_LENGTH) == 0;
}

static const char *path_of(const char *agreed) {
    return strchr(agreed, '/');
}

static int by_path(const void *left, const void *right) {
    const char *a = *(const char *const *)left;
    const char *b = *(const char *const *)right;
    int order = path_compare(path_of(a), path_of(b));
    return order ? order : strcmp(a, b);
}

void record_sort(struct strings *agreed) {
    if (agreed->count) {
        qsort(agreed->item, agreed->count, sizeof *agreed->item, by_path);
    }
}

const char *record_set(const struct strings *agreed, const struct root *root, bool *guarded) {
    size_t low = 0;
    for (size_t high = agreed->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (path_compare(path_of(agreed->item[middle]), root->path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    uint64_t hash = HASH_START;
    for (size_t i = low; i < agreed->count && path_at_or_below(path_of(agreed->item[i]), root->path); i++) {
        hash = mix(hash, agreed->item[i]);
    }
    *guarded = hash != HASH_START;
    return mem_text("set %016jx", (uintmax_t)hash);
}

bool record_has_set(int record, const char *set) {
    char have[SET_LENGTH];
    return pread(record, have, SET_LENGTH, 0) == SET_LENGTH && memcmp(have, set, SET_LENGTH) == 0;
}

void record_write_set(int record, const char *set, const char *policy) {
    write_whole(record, mem_text("%s %-*s\n", set, NAME_LENGTH, policy), 0);
}

const char *record_policy(int record) {
    char name[NAME_LENGTH + 1];
    ssize_t length = pread(record, name, NAME_LENGTH, SET_LENGTH + 1);
    name[length > 0 ? length : 0] = '\0';
    name[strcspn(name, " \n")] = '\0';
    return plan_is_name(name) ? mem_copy(name, strlen(name)) : "?";
}
