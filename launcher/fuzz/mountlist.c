/* The list of mounts in the inner stage's arguments. */
#include "../mountlist.h"

#include <string.h>

#include "../path.h"
#include "fuzz.h"

static void read_list(char *text) {
    struct jobs jobs = {0};
    if (!mountlist_read(&jobs, text)) {
        return;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        fuzz_check(jobs.item[i].path[0] == '/', "a relative path");
        fuzz_check((jobs.item[i].kind == JOB_LINK) == (jobs.item[i].target != NULL), "a target without a link");
    }
    mountlist_nest(&jobs);
    for (size_t i = 0; i < jobs.count; i++) {
        const struct job *above = jobs.item[i].above;
        fuzz_check(!above || path_at_or_below(jobs.item[i].path, above->path), "nested in what does not hold it");
        mountlist_around(&jobs, jobs.item[i].path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (setjmp(fuzz_refused) == 0) {
        read_list(mem_copy((const char *)bytes, strnlen((const char *)bytes, length)));
    }
    fuzz_forget();
    return 0;
}
