#include "gpumap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "path.h"
#include "paths.h"
#include "records.h"
#include "refuse.h"

#define MAGIC "fleetbox-gpu-map"
#define FORMAT "1"
#define AGAIN "as root: fleetbox-host gpu looks again"

enum { MAP_LIMIT = 4 * 1024 * 1024, SPEC_LIMIT = 1024 * 1024, DEVICES_LIMIT = 4096, NUMBER_DIGITS = 6, MIG_WORDS = 4, SOURCE_WORDS = 3 };

struct map {
    struct strings mig;     /* UUID, PCI address, GPU instance, compute instance */
    struct strings sources; /* path, size, checksum */
    struct cdi_devices devices;
};

static _Noreturn void refuse_map(const char *problem, const char *value) {
    refuse(AGAIN, "the GPU map %s: %.100s", problem, value);
}

static void take(struct records *records, struct strings *list, int words) {
    for (int i = 0; i < words; i++) {
        strings_add(list, records_next(records));
    }
}

static struct cdi_device *add_device(struct cdi_devices *devices, const char *name) {
    if (devices->count >= DEVICES_LIMIT) {
        refuse_map("has too many devices", name);
    }
    devices->item = mem_grow(devices->item, devices->count, &devices->room, sizeof *devices->item);
    struct cdi_device *device = &devices->item[devices->count++];
    *device = (struct cdi_device){.name = name};
    return device;
}

/* Two plain paths, and `more` words. */
static void take_paths(struct records *records, struct strings *list, int more, const char *device) {
    take(records, list, 2 + more);
    for (size_t i = list->count - (size_t)(2 + more); i < list->count - (size_t)more; i++) {
        if (!path_is_plain_absolute(list->item[i])) {
            refuse_map("names no plain path for", device);
        }
    }
}

/* False for a word that no record of a device begins with. */
static bool read_edit(struct records *records, const char *word, struct cdi_device *device) {
    if (strcmp(word, "node") == 0) {
        take_paths(records, &device->nodes, 2, device->name);
    } else if (strcmp(word, "mount") == 0) {
        take_paths(records, &device->mounts, 0, device->name);
    } else if (strcmp(word, "group") == 0) {
        take(records, &device->groups, 1);
    } else if (strcmp(word, "env") == 0) {
        const char *name = records_next(records);
        strings_add(&device->env, mem_text("%s=%s", name, records_next(records)));
    } else {
        return false;
    }
    return true;
}

static void read_records(struct records *records, struct map *map) {
    struct cdi_device *device = NULL;
    for (const char *word; strcmp(word = records_next(records), "end") != 0;) {
        if (device && !device->refused && read_edit(records, word, device)) {
            continue;
        }
        if (strcmp(word, "mig") == 0) {
            take(records, &map->mig, MIG_WORDS);
        } else if (strcmp(word, "source") == 0) {
            take(records, &map->sources, SOURCE_WORDS);
        } else if (strcmp(word, "device") == 0) {
            device = add_device(&map->devices, records_next(records));
        } else if (strcmp(word, "refused") == 0) {
            device = add_device(&map->devices, records_next(records));
            device->refused = records_next(records);
        } else if (strcmp(word, "note") == 0) {
            records_next(records);
        } else {
            refuse_map("has a record that this launcher does not know", word);
        }
    }
    if (records->at != records->end) {
        refuse_map("goes on after its end", "");
    }
}

static const struct map *read_map(const struct launch *launch) {
    static struct map map;
    static bool known;
    if (known) {
        return &map;
    }
    known = true;
    bool managed = launch->files.managed;
    size_t length = 0;
    const char *place = managed ? FLEETBOX_GPU_MAP : path_join(launch->files.plan_dir, FLEETBOX_TRYOUT_GPU_MAP);
    const char *bytes = files_read(path_parent(place), strrchr(place, '/') + 1, &(struct wanted){"the GPU map", AGAIN, MAP_LIMIT},
                                   managed, &length);
    if (bytes) {
        struct records records = {bytes, bytes + length, "the GPU map", AGAIN};
        records_begin(&records, MAGIC, FORMAT);
        read_records(&records, &map);
    }
    return &map;
}

static int number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > NUMBER_DIGITS || text[digits]) {
        refuse_map("has no number where one belongs", text);
    }
    return (int)strtol(text, NULL, 10);
}

bool gpumap_mig(const struct launch *launch, const char *uuid, struct mig_place *place) {
    const struct map *map = read_map(launch);
    for (size_t i = 0; i + MIG_WORDS <= map->mig.count; i += MIG_WORDS) {
        const char *const *word = &map->mig.item[i];
        if (strcasecmp(word[0], uuid) == 0) {
            *place = (struct mig_place){word[1], number(word[2]), number(word[3])};
            return true;
        }
    }
    return false;
}

static bool is_spec(int dir, const char *name, struct stat *st) {
    const char *ending = strrchr(name, '.');
    return ending && (strcmp(ending, ".json") == 0 || strcmp(ending, ".yaml") == 0) &&
           fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

/* Of the first megabyte, which is all of what is not refused; "-" for what not everybody may read. NULL: it is gone. */
static const char *checksum(int dir, const char *name, const struct stat *st) {
    if (!(st->st_mode & S_IROTH)) {
        return "-";
    }
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return NULL;
    }
    char *bytes = mem_take(SPEC_LIMIT);
    size_t have = 0;
    for (ssize_t got; have < SPEC_LIMIT && (got = read(fd, bytes + have, SPEC_LIMIT - have)) > 0;) {
        have += (size_t)got;
    }
    close(fd);
    uint32_t sum = records_checksum(bytes, have);
    mem_trim(bytes, 0);
    return mem_text("%08x", (unsigned)sum);
}

/* The very bytes that the map was made from, or it says something about another machine. */
static bool is_source(const struct map *map, const char *path, const struct stat *st, const char *sum) {
    for (size_t i = 0; sum && i + SOURCE_WORDS <= map->sources.count; i += SOURCE_WORDS) {
        const char *const *word = &map->sources.item[i];
        if (strcmp(word[0], path) == 0) {
            return strcmp(word[1], mem_text("%jd", (intmax_t)st->st_size)) == 0 && strcmp(word[2], sum) == 0;
        }
    }
    return false;
}

/* NULL for a directory that counts as empty: docs/gpu-map.md says which. */
static DIR *open_specs(const char *directory) {
    struct stat st;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) != 0 || (st.st_mode & (S_IROTH | S_IXOTH)) != (S_IROTH | S_IXOTH))) {
        close(fd);
        return NULL;
    }
    return fd < 0 ? NULL : fdopendir(fd);
}

static size_t check_sources_in(const struct map *map, const char *directory) {
    size_t count = 0;
    DIR *dir = open_specs(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat st;
        if (!is_spec(dirfd(dir), entry->d_name, &st)) {
            continue;
        }
        count++;
        const char *path = path_join(directory, entry->d_name);
        if (!is_source(map, path, &st, checksum(dirfd(dir), entry->d_name, &st))) {
            refuse(AGAIN, "%s changed since the GPU map was made", path);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

const struct cdi_devices *gpumap_cdi(const struct launch *launch) {
    const struct map *map = read_map(launch);
    size_t found = check_sources_in(map, "/etc/cdi") + check_sources_in(map, "/var/run/cdi");
    if (found * SOURCE_WORDS != map->sources.count) {
        refuse(AGAIN, "a CDI specification is gone since the GPU map was made");
    }
    return &map->devices;
}
