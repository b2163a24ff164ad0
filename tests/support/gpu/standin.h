/* What the stand-ins for GPU libraries have in common: which GPUs they would find, and whether they can be opened.
 * The rows of LIST stand for what a driver knows: a node, a UUID's 32 digits, a PCI address, a name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST "/usr/share/fleetbox-standin/gpus"
#define MEMORY ((size_t)80 << 30)
enum { MAX = 32 };

struct gpu {
    char node[64], uuid[40], pci[24], name[64];
};

static struct gpu gpus[MAX];
static int count;

/* Where a unit test keeps its /dev; FLEETBOX_STANDIN is not set in a sandbox. */
static const char *under(const char *path) {
    static char whole[4096];
    const char *root = getenv("FLEETBOX_STANDIN");
    snprintf(whole, sizeof whole, "%s%s", root ? root : "", path);
    return whole;
}

/* 0, or the errno of opening it. No driver is behind the nodes of a test host: that one is there is all there is. */
static int closed(const char *path) {
    int fd = open(under(path), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return errno == ENXIO || errno == ENODEV ? 0 : errno;
}

/* Fills `gpus` with those whose node begins with `kind` and can be opened; "hang" never comes back. */
static void find(const char *kind) {
    FILE *list = fopen(under(LIST), "re");
    struct gpu row;
    count = 0;
    while (list && fscanf(list, "%63s %39s %23s %63s", row.node, row.uuid, row.pci, row.name) == 4) {
        while (strcmp(row.node, "hang") == 0) {
            pause();
        }
        if (strncmp(row.node, kind, strlen(kind)) == 0 && closed(row.node) == 0 && count < MAX) {
            gpus[count++] = row;
        }
    }
    if (list) {
        fclose(list);
    }
}

static inline int say(char *out, int size, const char *text) {
    snprintf(out, (size_t)size, "%s", text);
    return 0;
}
