#include "pci.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "path.h"
#include "small.h"

enum { DOMAIN_MIN = 4, DOMAIN_MAX = 8, TEXT_LIMIT = 128 };

static const char hex[] = "0123456789abcdefABCDEF";

/* Two digits and what ends them. */
static bool read_pair(const char **at, char end, uint32_t *value) {
    if (strspn(*at, hex) != 2 || (*at)[2] != end) {
        return false;
    }
    *value = *value << 8 | (uint32_t)strtoul(*at, NULL, 16);
    *at += 3;
    return true;
}

bool pci_parse(const char *text, struct pci *address) {
    *address = (struct pci){0};
    size_t digits = strspn(text, hex);
    if (digits >= DOMAIN_MIN && digits <= DOMAIN_MAX && text[digits] == ':') {
        address->has_domain = true;
        address->domain = strtoul(text, NULL, 16);
        text += digits + 1;
    }
    if (!read_pair(&text, ':', &address->place) || !read_pair(&text, '.', &address->place)) {
        return false;
    }
    address->place = address->place << 8 | (uint32_t)(unsigned char)text[0];
    return text[0] >= '0' && text[0] <= '7' && text[1] == '\0';
}

bool pci_same(const struct pci *wanted, const struct pci *address) {
    return wanted->place == address->place && (!wanted->has_domain || wanted->domain == address->domain);
}

int pci_order(const char *left, const char *right) {
    struct pci a, b;
    pci_parse(left, &a);
    pci_parse(right, &b);
    if (a.domain != b.domain) {
        return a.domain < b.domain ? -1 : 1;
    }
    return a.place < b.place ? -1 : a.place > b.place;
}

const char *pci_text(const char *address, const char *file) {
    char path[PATH_LIMIT];
    char text[TEXT_LIMIT];
    snprintf(path, sizeof path, PCI_DEVICES "/%s/%s", address, file);
    small_read(AT_FDCWD, path, text, sizeof text);
    return mem_copy(text, strcspn(text, "\n"));
}

bool pci_has_driver(const char *address, const char *driver) {
    char path[PATH_LIMIT];
    char target[PATH_LIMIT];
    snprintf(path, sizeof path, PCI_DEVICES "/%s/driver", address);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    const char *name = strrchr(target, '/');
    return strcmp(name ? name + 1 : target, driver) == 0;
}

/* VGA, 3D and other displays, processing accelerators. */
static bool computes(const char *address) {
    static const char *const classes[] = {"0x0300", "0x0302", "0x0380", "0x1200"};
    const char *class = pci_text(address, "class");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strncmp(class, classes[i], strlen(classes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static int by_address(const void *left, const void *right) {
    return pci_order(*(const char *const *)left, *(const char *const *)right);
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

struct strings pci_gpus(const char *vendor) {
    struct strings found = {0};
    DIR *dir = opendir(PCI_DEVICES);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct pci address;
        if (pci_parse(entry->d_name, &address) && address.has_domain &&
            strcmp(pci_text(entry->d_name, "vendor"), vendor) == 0 && computes(entry->d_name)) {
            strings_add(&found, mem_copy(entry->d_name, strlen(entry->d_name)));
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (found.count) {
        qsort(found.item, found.count, sizeof *found.item, by_address);
    }
    return found;
}

struct strings pci_render_nodes(const char *address) {
    static const char prefix[] = "renderD";
    struct strings nodes = {0};
    DIR *dir = opendir(mem_text(PCI_DEVICES "/%s/drm", address));
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *number = entry->d_name + sizeof prefix - 1;
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) == 0 && *number &&
            number[strspn(number, "0123456789")] == '\0') {
            strings_add(&nodes, path_join("/dev/dri", entry->d_name));
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (nodes.count) {
        qsort(nodes.item, nodes.count, sizeof *nodes.item, by_name);
    }
    return nodes;
}
