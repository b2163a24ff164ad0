#include "readable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "exact.h"
#include "mem.h"
#include "path.h"

/* Directories that are not granted whole, and what is closed, in the order of the walk. */
struct known {
    struct identity *item;
    size_t count;
    size_t room;
};

/* The tree is walked three times: to know what must never be granted, to grant the rest, and to see that nothing was moved
 * meanwhile. A rule belongs to a file, not to its name: a directory that went by another name for a moment would stay open. */
enum pass { LEARN, GRANT, VERIFY };

struct walk {
    const struct jobs *places;
    int control;
    readable_grant *grant;
    void *context;
    enum pass pass;
    struct known known;
    size_t at; /* how many of `known` this pass has met */
};

/* An opened file on the way, and the places [from, to) that lie below it. */
struct node {
    int fd;
    const char *path;
    bool visible;
    bool snapshot; /* shown name by name although nothing in it is closed: what comes later may be */
    size_t from;
    size_t to;
};

static _Noreturn void moved(const struct walk *walk, const char *path) {
    give_up(walk->control, "%s changed while the sandbox was being prepared", path);
}

static void meet(struct walk *walk, const struct stat *st, const char *path) {
    struct known *known = &walk->known;
    if (walk->pass == LEARN) {
        known->item = mem_grow(known->item, known->count, &known->room, sizeof *known->item);
        known->item[known->count++] = (struct identity){true, st->st_dev, st->st_ino};
    } else if (walk->at == known->count || !is_exactly(&known->item[walk->at++], st)) {
        moved(walk, path);
    }
}

static bool is_known(const struct walk *walk, const struct stat *st) {
    for (size_t i = 0; i < walk->known.count; i++) {
        if (is_exactly(&walk->known.item[i], st)) {
            return true;
        }
    }
    return false;
}

static bool is_place(const struct walk *walk, const struct node *node, const char *path) {
    for (size_t i = node->from; i < node->to; i++) {
        if (path_at_or_below(walk->places->item[i].path, path)) {
            return true;
        }
    }
    return false;
}

static void grant(struct walk *walk, int fd, const struct stat *st, const char *path) {
    if (!walk->grant(walk->context, fd, st)) {
        give_up(walk->control, "Landlock cannot allow %s: %s", path, strerror(errno));
    }
}

/* Links need no right; nodes and sockets are for /dev and for nobody. A closed file's other name is closed, too. */
static void grant_sibling(struct walk *walk, int fd, const char *path) {
    struct stat st;
    if (fstat(fd, &st) != 0) {
        moved(walk, path);
    }
    bool file = S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode);
    if (S_ISDIR(st.st_mode) && is_known(walk, &st)) {
        moved(walk, path);
    } else if (S_ISDIR(st.st_mode) || (file && !is_known(walk, &st))) {
        grant(walk, fd, &st, path);
    }
}

/* A directory that cannot be listed grants nothing but what is named. */
static void grant_siblings(struct walk *walk, const struct node *node) {
    int fd = openat(node->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        char path[PATH_LIMIT + NAME_MAX + 1];
        int length = snprintf(path, sizeof path, "%s/%s", node->path[1] ? node->path : "", entry->d_name);
        int child = dots || length >= PATH_LIMIT || is_place(walk, node, path)
                        ? -1
                        : openat(node->fd, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0) {
            grant_sibling(walk, child, path);
            close(child);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void walk_node(struct walk *walk, const struct node *node);

/* The next component below `node` on the way to the places [from, to), all of which it leads to. */
static void walk_child(struct walk *walk, const struct node *node, size_t from, size_t to, size_t length) {
    const struct job *first = &walk->places->item[from];
    const char *path = mem_copy(first->path, length);
    int fd = openat(node->fd, strrchr(path, '/') + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && !first->identity.known && first->kind == JOB_NONE) {
        return; /* denied, and not there yet or not to be reached: its directory is not granted either */
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || S_ISLNK(st.st_mode)) {
        moved(walk, path);
    }
    struct node child = {fd, path, node->visible, false, from, to};
    for (const struct job *job = first; child.from < to && job->path[length] == '\0'; job = first + (child.from - from)) {
        if (!is_exactly(&job->identity, &st)) {
            moved(walk, path);
        }
        child.snapshot = child.snapshot || job->kind == JOB_SNAPSHOT;
        child.visible = job->kind == JOB_SNAPSHOT ? child.visible : job->kind == JOB_READ;
        child.from++;
    }
    walk_node(walk, &child);
    close(fd);
}

static size_t component_end(const char *path, size_t start) {
    return start + strcspn(path + start, "/");
}

static void walk_children(struct walk *walk, const struct node *node) {
    size_t start = node->path[1] ? strlen(node->path) + 1 : 1;
    for (size_t from = node->from, to; from < node->to; from = to) {
        const char *path = walk->places->item[from].path;
        size_t end = component_end(path, start);
        to = from + 1;
        while (to < node->to && strncmp(walk->places->item[to].path, path, end) == 0 &&
               component_end(walk->places->item[to].path, start) == end) {
            to++;
        }
        walk_child(walk, node, from, to, end);
    }
}

static void walk_node(struct walk *walk, const struct node *node) {
    struct stat st;
    if (fstat(node->fd, &st) != 0) {
        moved(walk, node->path);
    }
    if (node->visible && node->from == node->to && !node->snapshot) {
        if (walk->pass == GRANT) {
            if (is_known(walk, &st)) {
                moved(walk, node->path);
            }
            grant(walk, node->fd, &st, node->path);
        }
        return;
    }
    meet(walk, &st, node->path);
    if (walk->pass == GRANT && node->visible) {
        grant_siblings(walk, node);
    }
    walk_children(walk, node);
}

void readable_grant_all(const struct jobs *places, int control, readable_grant *grant_one, void *context) {
    struct walk walk = {.places = places, .control = control, .grant = grant_one, .context = context};
    const struct job *root = places->item;
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || places->count == 0 || strcmp(root->path, "/") != 0) {
        give_up(control, "the inner stage was started with a bad argument");
    }
    for (walk.pass = LEARN; walk.pass <= VERIFY; walk.pass++) {
        walk.at = 0;
        walk_node(&walk, &(struct node){fd, "/", root->kind == JOB_READ, false, 1, places->count});
        if (walk.pass != LEARN && walk.at != walk.known.count) {
            moved(&walk, "/");
        }
    }
    close(fd);
}
