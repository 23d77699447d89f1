/* Runs compiled networks in an emulated process. The networks are in a table that the test generates; a request on standard
 * input is a network's number and its inputs, the answer a status and the outputs.
 *
 * Each network runs twice, with other garbage in the arena and in the outputs: both runs must give the same bits. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define TEXT(x) #x
#define QUOTED(x) TEXT(x)
/* The networks' code comes after this file's. */
__asm__(".text\n.space " QUOTED(PADDING) "\n");

enum { DIFFERENT = 100, MOST_PORTS = 16, ALIGNMENT = 64 };

static void *memory(size_t bytes, int garbage) {
    void *p = aligned_alloc(ALIGNMENT, (bytes / ALIGNMENT + 1) * ALIGNMENT);
    if (!p) exit(3);
    memset(p, garbage, bytes);
    return p;
}

int main(void) {
    uint32_t number;
    while (fread(&number, sizeof number, 1, stdin) == 1) {
        const struct network *network = &networks[number];
        const void *inputs[MOST_PORTS];
        void *outputs[2][MOST_PORTS];
        uint32_t status = 0;
        for (size_t i = 0; i < network->inputs; i++) {
            void *p = memory(network->bytes[i], 0);
            if (network->bytes[i] && fread(p, network->bytes[i], 1, stdin) != 1) return 2;
            inputs[i] = p;
        }
        for (int turn = 0; turn < 2; turn++) {
            int garbage = turn ? 0xff : 0x3c;
            avocet_context context = {memory(network->arena, garbage), NULL, NULL, NULL, NULL};
            for (size_t i = 0; i < network->outputs; i++)
                outputs[turn][i] = memory(network->bytes[network->inputs + i], garbage);
            if (!status) status = (uint32_t)network->invoke(inputs, outputs[turn], &context);
            free(context.arena);
        }
        for (size_t i = 0; i < network->outputs; i++)
            if (!status && memcmp(outputs[0][i], outputs[1][i], network->bytes[network->inputs + i])) status = DIFFERENT;
        if (fwrite(&status, sizeof status, 1, stdout) != 1) return 2;
        for (size_t i = 0; i < network->outputs; i++) {
            size_t bytes = network->bytes[network->inputs + i];
            if (bytes && fwrite(outputs[0][i], bytes, 1, stdout) != 1) return 2;
            free(outputs[0][i]);
            free(outputs[1][i]);
        }
        for (size_t i = 0; i < network->inputs; i++) free((void *)inputs[i]);
        fflush(stdout);
    }
    return 0;
}
