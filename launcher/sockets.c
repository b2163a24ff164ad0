/* With AF_UNIX allowed, a read-only bind does not stop connect(): every socket that the machine has bound to
 * a path at launch is masked, unless its directory is hidden anyway or a rule names it. The kernel knows the name it
 * was bound to; where another file is found by that name, or a name is relative, the file is searched for. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "fds.h"
#include "path.h"
#include "refuse.h"
#include "sockdiag.h"

enum { LISTING_LIMIT = 1 << 20, SOCKET_LIMIT = 128, VISIT_LIMIT = 50 * 1000, DEPTH_LIMIT = 32 };

struct masking {
    struct launch *launch;
    struct bounds lost; /* not where their names say, or with further names */
    size_t masked;
    size_t visited;
};

/* Decided so far by the unordered list: the deepest entry at or above `path`. */
static const struct entry *deciding(const struct entries *entries, const char *path) {
    const struct entry *best = NULL;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        if (path_at_or_below(path, entry->path) &&
            (!best || path_below(entry->path, best->path) ||
             (strcmp(entry->path, best->path) == 0 && entry->access > best->access))) {
            best = entry;
        }
    }
    return best;
}

static bool is_hidden(const struct launch *launch, const char *path) {
    const struct entry *entry = deciding(&launch->entries, path);
    if (!entry) {
        return launch->plan.root == ROOT_MINIMAL;
    }
    bool named = strcmp(entry->path, path) == 0;
    return named || entry->access == ACCESS_NONE || entry->kind == ENTRY_TMP || entry->kind == ENTRY_MISSING;
}

static void mask(struct masking *masking, const struct resolved *place) {
    if (is_hidden(masking->launch, place->path)) {
        return;
    }
    if (++masking->masked > SOCKET_LIMIT) {
        refuse("deny their directories by rules", "more than %d sockets of the machine are visible", SOCKET_LIMIT);
    }
    struct entry entry = entry_at(place, ACCESS_NONE, "socket of the host");
    entry.fleeting = !roots_holding(&masking->launch->roots, place->path); /* there a workload could have moved it */
    entries_add(&masking->launch->entries, entry);
}

/* True when the socket file of that inode, any for 0, lies at PATH, and has this one name only. */
static bool mask_at(struct masking *masking, const char *path, uint32_t ino) {
    char canonical[PATH_LIMIT];
    if (!realpath(path, canonical)) {
        return false;
    }
    struct resolved place = resolve(canonical, &masking->launch->roots);
    if (place.found != FOUND || !S_ISSOCK(place.st.st_mode)) {
        return false;
    }
    mask(masking, &place);
    return !ino || ((uint32_t)place.st.st_ino == ino && place.st.st_nlink == 1);
}

static bool is_lost(const struct masking *masking, ino_t ino) {
    for (size_t i = 0; i < masking->lost.count; i++) {
        if (masking->lost.item[i].ino == (uint32_t)ino) {
            return true;
        }
    }
    return false;
}

/* Nearest first does not matter here: what is not found stays the limit that parity names. */
static void search(struct masking *masking, int parent, const char *name, const char *path, int depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && is_exhausted(errno)) {
        refuse("raise ulimit -n", "cannot search %s for sockets of the machine: %s", path, strerror(errno));
    }
    if (!dir) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) && ++masking->visited < VISIT_LIMIT;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (entry->d_type == DT_SOCK && is_lost(masking, entry->d_ino)) {
            mask_at(masking, path_join(path, entry->d_name), 0);
        } else if (entry->d_type == DT_DIR && depth > 0) {
            search(masking, fd, entry->d_name, path_join(path, entry->d_name), depth - 1);
        }
    }
    closedir(dir);
}

static void search_at(struct masking *masking, const char *path, int depth) {
    if (path && !is_hidden(masking->launch, path)) {
        masking->visited = 0;
        search(masking, AT_FDCWD, path, path, depth);
    }
}

/* A relative name counts from where its process works, if that has not changed. */
static void search_where_processes_work(struct masking *masking) {
    DIR *dir = opendir("/proc");
    struct strings seen = {0};
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_LIMIT];
        ssize_t length = entry->d_name[0] >= '1' && entry->d_name[0] <= '9'
                             ? readlink(mem_text("/proc/%s/cwd", entry->d_name), path, sizeof path - 1)
                             : -1;
        if (length <= 0) {
            continue;
        }
        path[length] = '\0';
        size_t i = 0;
        while (i < seen.count && strcmp(seen.item[i], path) != 0) {
            i++;
        }
        if (i == seen.count) {
            strings_add(&seen, mem_copy(path, (size_t)length));
            search_at(masking, seen.item[i], 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void search_lost(struct masking *masking) {
    const struct launch *launch = masking->launch;
    for (size_t i = 0; i < masking->lost.count; i++) {
        if (masking->lost.item[i].name[0] == '/') {
            search_at(masking, path_parent(masking->lost.item[i].name), 0);
        }
    }
    search_where_processes_work(masking);
    for (size_t i = 0; i < launch->roots.count; i++) {
        search_at(masking, launch->roots.item[i].path, DEPTH_LIMIT);
    }
    search_at(masking, launch->home, DEPTH_LIMIT);
    search_at(masking, launch->account_home, DEPTH_LIMIT);
}

static void mask_bound(struct masking *masking, const struct bounds *bounds) {
    for (size_t i = 0; i < bounds->count; i++) {
        const struct bound bound = bounds->item[i];
        if (bound.name[0] != '/' || !mask_at(masking, bound.name, bound.ino)) {
            struct bounds *lost = &masking->lost;
            lost->item = mem_grow(lost->item, lost->count, &lost->room, sizeof *lost->item);
            lost->item[lost->count++] = bound;
        }
    }
    if (masking->lost.count) {
        search_lost(masking);
    }
}

/* Num RefCount Protocol Flags Type St Inode Path: the path is what follows the seventh field. */
static const char *socket_path(const char *line) {
    for (int field = 0; field < 7; field++) {
        line += strspn(line, " ");
        line += strcspn(line, " ");
    }
    return *line == ' ' ? line + 1 : line;
}

/* A kernel that cannot be asked lists the names at least. */
static void mask_listed(struct masking *masking) {
    int fd = open("/proc/net/unix", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        refuse("mount /proc, or set process.unix_sockets: none", "cannot list the machine's sockets");
    }
    size_t length;
    char *listing = read_limited(fd, LISTING_LIMIT, &length, "/proc/net/unix");
    close(fd);
    for (char *line; (line = cut(&listing, '\n'));) {
        const char *name = socket_path(line);
        if (name[0] == '/') {
            mask_at(masking, name, 0);
        }
    }
}

bool sockets_allowed(const struct launch *launch) {
    return launch->plan.sockets == SOCKETS_PRIVATE || (launch->plan.sockets == SOCKETS_AUTO && launch->gpu_bound);
}

void collect_sockets(struct launch *launch) {
    struct masking masking = {.launch = launch};
    struct bounds bounds = {0};
    if (!sockets_allowed(launch)) {
        return;
    }
    if (sockdiag_read(&bounds)) {
        mask_bound(&masking, &bounds);
    } else {
        strings_add(&launch->skipped, "sockets of the host that were renamed or bound by a relative name: "
                                      "this kernel has no unix_diag, which would say where they are");
        mask_listed(&masking);
    }
}
