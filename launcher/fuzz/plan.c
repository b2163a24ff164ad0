/* The launch plan: as it is, and as the payload of a header that is right, which no mutation would find. */
#include "../plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static unsigned long crc32_of(const uint8_t *bytes, size_t length) {
    unsigned long crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return crc ^ 0xffffffff;
}

static void check(const struct plan *plan, const char *bytes, size_t length) {
    fuzz_check(plan->op_count <= PLAN_RECORDS, "too many operations");
    fuzz_check(plan_is_name(plan->policy) && plan->mode <= MODE_FULL_ACCESS && plan->gpu <= GPU_REQUIRED, "odd head");
    for (size_t i = 0; i < plan->op_count; i++) {
        for (int a = 0; a < PLAN_ARGS && plan->op[i].arg[a]; a++) {
            const char *arg = plan->op[i].arg[a];
            fuzz_check(arg >= bytes && arg + strlen(arg) < bytes + length, "a value that lies elsewhere");
        }
    }
}

static void parse(const char *bytes, size_t length) {
    struct plan plan = {0};
    if (setjmp(fuzz_refused) == 0) {
        plan_parse(&plan, bytes, length);
        check(&plan, bytes, length);
    }
    fuzz_forget();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    parse((const char *)bytes, length);
    char head[128];
    int size = snprintf(head, sizeof head, "fleetbox-launch-plan%c" PLAN_FORMAT "%c%zu%c%08lx%c", 0, 0, length, 0,
                        crc32_of(bytes, length), 0);
    char *whole = malloc((size_t)size + length);
    memcpy(whole, head, (size_t)size);
    memcpy(whole + size, bytes, length);
    parse(whole, (size_t)size + length);
    free(whole);
    return 0;
}
