/* The GPU map: root's, but for the one of a try-out, and full of words of specifications that others wrote. */
#include "../gpumap.c"

#include "fuzz.h"

static void check(const struct map *map) {
    fuzz_check(map->mig.count % MIG_WORDS == 0 && map->sources.count % SOURCE_WORDS == 0, "half a record");
    fuzz_check(map->devices.count <= DEVICES_LIMIT, "too many devices");
    for (size_t i = 0; i < map->devices.count; i++) {
        const struct cdi_device *device = &map->devices.item[i];
        fuzz_check(device->nodes.count % 4 == 0 && device->mounts.count % 2 == 0, "half a device");
        fuzz_check(!device->refused || device->nodes.count + device->env.count == 0, "a refused device that opens something");
        for (size_t j = 0; j < device->nodes.count; j++) {
            fuzz_check(j % 4 > 1 || path_is_plain_absolute(device->nodes.item[j]), "a path that leads elsewhere");
        }
    }
}

static void parse(const char *bytes, size_t length) {
    struct map map = {0};
    struct records records = {bytes, bytes + length, "the GPU map", AGAIN};
    if (setjmp(fuzz_refused) == 0) {
        records_begin(&records, MAGIC, FORMAT);
        read_records(&records, &map);
        check(&map);
    }
    fuzz_forget();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    parse((const char *)bytes, length);
    size_t size;
    char *whole = fuzz_seal(MAGIC, bytes, length, &size);
    parse(whole, size);
    free(whole);
    return 0;
}
