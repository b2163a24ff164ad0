#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "path.h"
#include "refuse.h"

enum { LINK_LIMIT = 40 };

void roots_add(struct roots *roots, const char *path, const struct stat *st) {
    size_t at = roots->count;
    while (at > 0 && path_compare(path, roots->item[at - 1].path) < 0) {
        at--;
    }
    if (at > 0 && strcmp(roots->item[at - 1].path, path) == 0) {
        return;
    }
    roots->item = mem_grow(roots->item, roots->count, &roots->room, sizeof *roots->item);
    memmove(&roots->item[at + 1], &roots->item[at], (roots->count++ - at) * sizeof *roots->item);
    roots->item[at] = (struct root){path, st->st_dev, st->st_ino};
}

const struct root *roots_holding(const struct roots *roots, const char *path) {
    return path_holder(roots->item, roots->count, sizeof *roots->item, path);
}

bool roots_above(const struct roots *roots, const char *path) {
    const struct root *root = roots_holding(roots, path);
    if (!root || strcmp(root->path, path) != 0) {
        return root;
    }
    const char *parent = path_parent(path);
    return strcmp(path, "/") != 0 && roots_holding(roots, parent);
}

/* The text still to walk: the rest of a path, pushed before it the targets of links met on the way. */
struct walk {
    char at[PATH_LIMIT]; /* canonical so far; "" is the root directory */
    char rest[2 * PATH_LIMIT];
    size_t rest_at;
    int links;
    const struct roots *roots;
    const struct trust *trust; /* NULL: any link outside the roots is followed */
};

static void to_parent(struct walk *walk) {
    char *slash = strrchr(walk->at, '/');
    if (slash) {
        *slash = '\0';
    }
}

static bool is_trusted(const struct trust *trust, const char *link, const struct stat *st) {
    const char *parent = path_parent(link);
    for (size_t i = 0; i < sizeof trust->home / sizeof *trust->home; i++) {
        if (trust->home[i] && strcmp(parent, trust->home[i]) == 0) {
            return true;
        }
    }
    return st->st_uid == 0;
}

/* Replaces the symlink at `at` by its target. */
static void follow(struct walk *walk, const struct stat *st) {
    char target[PATH_LIMIT];
    const char *link = walk->at;
    const struct root *root = roots_holding(walk->roots, link);
    if (root && strcmp(root->path, link) != 0) {
        refuse("remove the link, or write the rule for the place that it points to",
               "symlink below a writable directory: %s", link);
    }
    if (walk->trust && !is_trusted(walk->trust, link, st)) {
        refuse("write the rule for the place that it leads to; only links of root, and those directly in the home"
               " directory, are followed there",
               "symlink on the way to what the policy makes writable: %s", link);
    }
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0 || (size_t)length == sizeof target - 1 || ++walk->links > LINK_LIMIT) {
        refuse("", "cannot follow the symlink %s", link);
    }
    target[length] = '\0';
    if (walk->roots->followed) {
        strings_add(walk->roots->followed, mem_copy(link, strlen(link)));
    }
    char joined[sizeof walk->rest];
    const char *remaining = walk->rest + walk->rest_at;
    if ((size_t)length + 1 + strlen(remaining) >= sizeof joined) {
        refuse("", "the symlink %s leads to a path that is too long", link);
    }
    strcpy(joined, target);
    strcat(joined, "/");
    strcat(joined, remaining);
    strcpy(walk->rest, joined);
    walk->rest_at = 0;
    if (target[0] == '/') {
        walk->at[0] = '\0';
    } else {
        to_parent(walk);
    }
}

/* Cuts the next component off `rest`; NULL at its end. Empty ones and "." are skipped. */
static const char *next_component(struct walk *walk, char name[NAME_MAX + 1]) {
    for (;;) {
        const char *rest = walk->rest + walk->rest_at;
        rest += strspn(rest, "/");
        size_t length = strcspn(rest, "/");
        walk->rest_at = (size_t)(rest - walk->rest) + length;
        if (length == 0) {
            return NULL;
        }
        if (length > NAME_MAX) {
            refuse("", "a path component is longer than %d bytes below %s", NAME_MAX, walk->at);
        }
        memcpy(name, rest, length);
        name[length] = '\0';
        if (strcmp(name, ".") != 0) {
            return name;
        }
    }
}

static void append(struct walk *walk, const char *name) {
    size_t length = strlen(walk->at);
    if (length + 1 + strlen(name) >= sizeof walk->at) {
        refuse("use shorter paths", "a path is longer than %d bytes: %.80s...", PATH_LIMIT - 1, walk->at);
    }
    walk->at[length] = '/';
    strcpy(walk->at + length + 1, name);
}

/* Below a writable directory the workload owns what it closed, and would open it again in the next sandbox. */
static void refuse_closed(const struct walk *walk) {
    const struct root *root = roots_holding(walk->roots, walk->at);
    if (root && strcmp(root->path, walk->at) != 0) {
        refuse("make the directory that holds it searchable again: chmod u+rwx",
               "cannot look at %s, which the policy speaks of: %s", walk->at, strerror(errno));
    }
}

static struct resolved stopped(struct walk *walk, enum found found) {
    if (found == INACCESSIBLE) {
        refuse_closed(walk);
    }
    struct resolved result = {.found = found, .missing_at = strlen(walk->at)};
    char name[NAME_MAX + 1];
    while (next_component(walk, name)) {
        if (strcmp(name, "..") == 0) {
            refuse("", "cannot resolve a path: %s does not exist and a link goes back over it", walk->at);
        }
        append(walk, name);
    }
    result.path = mem_copy(walk->at, strlen(walk->at));
    return result;
}

static bool is_mountpoint_of_another(const struct roots *roots, const char *path) {
    const char *const *made = path_holder(roots->made.item, roots->made.count, sizeof *roots->made.item, path);
    return made && strcmp(*made, path) == 0;
}

static enum found look(const struct roots *roots, const char *path, struct stat *st) {
    if (lstat(path, st) == 0) {
        return is_mountpoint_of_another(roots, path) ? MISSING : FOUND;
    }
    return errno == ENOENT ? MISSING : errno == ENOTDIR ? NOT_A_DIR : INACCESSIBLE;
}

static struct resolved walk_from(const char *base, const char *rest, const struct roots *roots,
                                 const struct trust *trust) {
    struct walk walk; /* not zeroed: it is large, and every rule walks */
    walk.rest_at = 0;
    walk.links = 0;
    walk.roots = roots;
    walk.trust = trust;
    if (strlen(base) >= sizeof walk.at || strlen(rest) >= PATH_LIMIT) {
        refuse("use shorter paths", "a path is longer than %d bytes: %.80s...", PATH_LIMIT - 1, base);
    }
    strcpy(walk.at, strcmp(base, "/") == 0 ? "" : base);
    strcpy(walk.rest, rest);
    struct resolved result = {.found = FOUND};
    enum found found = look(roots, base, &result.st);
    char name[NAME_MAX + 1];
    while (next_component(&walk, name)) {
        if (strcmp(name, "..") == 0) {
            to_parent(&walk);
            found = look(roots, walk.at[0] ? walk.at : "/", &result.st);
            continue;
        }
        if (found == FOUND && !S_ISDIR(result.st.st_mode)) {
            walk.rest_at -= strlen(name);
            return stopped(&walk, NOT_A_DIR);
        }
        append(&walk, name);
        found = look(roots, walk.at, &result.st);
        if (found != FOUND) {
            return stopped(&walk, found);
        }
        if (S_ISLNK(result.st.st_mode)) {
            follow(&walk, &result.st);
            found = look(roots, walk.at[0] ? walk.at : "/", &result.st);
        }
    }
    result.found = found;
    result.path = walk.at[0] ? mem_copy(walk.at, strlen(walk.at)) : "/";
    result.missing_at = strlen(result.path);
    return result;
}

struct resolved resolve_below(const char *base, const char *rest, const struct roots *roots) {
    return walk_from(base, rest, roots, NULL);
}

struct resolved resolve(const char *path, const struct roots *roots) {
    return walk_from("/", path, roots, NULL);
}

struct resolved resolve_trusted(const char *path, const struct roots *roots, const struct trust *trust) {
    return walk_from("/", path, roots, trust);
}

int open_beneath(int dir, const char *rel) {
    int at = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    while (at >= 0 && *rel) {
        char name[NAME_MAX + 1];
        size_t length = strcspn(rel, "/");
        if (length == 0 || length > NAME_MAX) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, rel, length);
        name[length] = '\0';
        rel += length + (rel[length] == '/');
        int next = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        int saved = errno;
        if (next >= 0 && (fstat(next, &st) != 0 || S_ISLNK(st.st_mode))) {
            close(next);
            next = -1;
            saved = ELOOP;
        }
        close(at);
        at = next;
        errno = saved;
    }
    return at;
}

bool belongs_to_another(const char *path) {
    struct stat st;
    if (lstat(path, &st) == 0) {
        return st.st_uid != geteuid();
    }
    return strcmp(path, "/") != 0 && belongs_to_another(path_parent(path));
}
