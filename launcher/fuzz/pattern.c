/* A glob of a policy and the names it meets, one per line; the first line is the pattern. */
#include "../pattern.h"

#include <string.h>

#include "../mem.h"
#include "fuzz.h"

static void walk(char *text) {
    struct pattern pattern = pattern_split(cut(&text, '\n'));
    positions at = pattern_start(&pattern);
    for (char *name; at && (name = cut(&text, '\n'));) {
        at = pattern_step(&pattern, at, name);
        pattern_is_complete(&pattern, at);
    }
    pattern_is_any_depth(&pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (setjmp(fuzz_refused) == 0) {
        walk(mem_copy((const char *)bytes, strnlen((const char *)bytes, length)));
    }
    fuzz_forget();
    return 0;
}
