/* Runs a fuzzed parser over the files of a corpus, without a fuzzer: any compiler with sanitizers builds it. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            perror(argv[i]);
            return 1;
        }
        static uint8_t bytes[1 << 20];
        size_t length = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        uint8_t *exact = malloc(length ? length : 1); /* its end is where the sanitizer looks */
        for (size_t at = 0; at < length; at++) {
            exact[at] = bytes[at];
        }
        LLVMFuzzerTestOneInput(exact, length);
        free(exact);
    }
    printf("%d inputs\n", argc - 1);
    return 0;
}
