/* The launch plan: as it is, and as the payload of a header that is right, which no mutation would find. */
#include "../plan.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

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
    size_t size;
    char *whole = fuzz_seal("fleetbox-launch-plan", bytes, length, &size);
    parse(whole, size);
    free(whole);
    return 0;
}
