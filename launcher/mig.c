/* MIG instances, by what the driver shows in /proc: which exist, and which node is the right to each. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "gpu.h"

#define CAPABILITIES "/proc/driver/nvidia/capabilities"
#define MINORS "/proc/driver/nvidia-caps/mig-minors"

enum { MINORS_LIMIT = 1024 * 1024, NUMBER_DIGITS = 6 };

/* Eight GPUs have thousands of lines: one for every instance that could be made. */
static const char *minors(void) {
    static const char *text;
    if (!text) {
        int fd = open(MINORS, O_RDONLY | O_CLOEXEC);
        size_t length;
        text = fd < 0 ? "" : read_limited(fd, MINORS_LIMIT, &length, MINORS);
        if (fd >= 0) {
            close(fd);
        }
    }
    return text;
}

/* The node of one right, `gpu0/gi1/access` and a number in a line of its own; NULL where there is no such line. */
static const char *node_of(const char *right) {
    size_t length = strlen(right);
    for (const char *line = minors(); *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, right, length) != 0 || line[length] != ' ') {
            continue;
        }
        const char *number = line + length + 1;
        size_t digits = strspn(number, "0123456789");
        bool whole = digits > 0 && digits <= NUMBER_DIGITS && (number[digits] == '\n' || !number[digits]);
        return whole ? mem_text("/dev/nvidia-caps/nvidia-cap%.*s", (int)digits, number) : NULL;
    }
    return NULL;
}

static void add_once(struct strings *nodes, const char *node) {
    for (size_t i = 0; i < nodes->count; i++) {
        if (strcmp(nodes->item[i], node) == 0) {
            return;
        }
    }
    strings_add(nodes, node);
}

/* The number at the end of a name, `gi12`; -1 for another name. */
static int numbered(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    size_t digits = strncmp(name, prefix, length) == 0 ? strspn(name + length, "0123456789") : 0;
    return digits > 0 && digits < NUMBER_DIGITS && !name[length + digits] ? (int)strtol(name + length, NULL, 10) : -1;
}

static size_t add_instance(int minor, int gi, int ci, struct strings *nodes) {
    const char *above = node_of(mem_text("gpu%d/gi%d/access", minor, gi));
    const char *own = node_of(mem_text("gpu%d/gi%d/ci%d/access", minor, gi, ci));
    if (!above || !own) {
        return 0;
    }
    add_once(nodes, above);
    add_once(nodes, own);
    return 1;
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void sort(struct strings *list) {
    if (list->count) {
        qsort(list->item, list->count, sizeof *list->item, by_name);
    }
}

/* What a directory has of PREFIX and a number. */
static struct strings numbered_in(const char *path, const char *prefix) {
    struct strings found = {0};
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (numbered(entry->d_name, prefix) >= 0) {
            strings_add(&found, mem_copy(entry->d_name, strlen(entry->d_name)));
        }
    }
    if (dir) {
        closedir(dir);
    }
    sort(&found);
    return found;
}

struct strings mig_gpu_instances(int minor) {
    return numbered_in(mem_text(CAPABILITIES "/gpu%d/mig", minor), "gi");
}

static bool is_wanted(int wanted, int number) {
    return wanted < 0 || number == wanted;
}

size_t mig_rights(int minor, int gpu_instance, int compute_instance, struct strings *nodes) {
    size_t count = 0;
    struct strings gis = mig_gpu_instances(minor);
    for (size_t i = 0; i < gis.count; i++) {
        int gi = numbered(gis.item[i], "gi");
        struct strings cis = {0};
        if (is_wanted(gpu_instance, gi)) {
            cis = numbered_in(mem_text(CAPABILITIES "/gpu%d/mig/gi%d", minor, gi), "ci");
        }
        for (size_t j = 0; j < cis.count; j++) {
            int ci = numbered(cis.item[j], "ci");
            count += is_wanted(compute_instance, ci) ? add_instance(minor, gi, ci, nodes) : 0;
        }
    }
    sort(nodes);
    return count;
}
