/* Classifies a picture with a compiled EfficientNet-Lite0.

   avocet compile examples/efficientnet_lite0.toml --weights-file efficientnet-lite0-57934424.pth -o build
   cc -std=c11 -O2 -Ibuild examples/c_host/classify.c build/libefficientnet_lite0.a -o classify
   ./classify picture.ppm

   The picture is a binary PPM (P6) of any size. With -DEXTERNAL_WEIGHTS, for models compiled with --weights external, the
   weights file is the second argument. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "efficientnet_lite0.h"

enum { SIZE = 224, CHANNELS = 3, CLASSES = EFFICIENTNET_LITE0_OUTPUT_0_ELEMENTS, TOP = 5 };

static int fail(const char *what) {
    fprintf(stderr, "classify: %s\n", what);
    return 2;
}

/* Reads a PPM as 8-bit RGB; NULL when it isn't one. */
static unsigned char *read_ppm(const char *path, int *width, int *height) {
    FILE *file = fopen(path, "rb");
    unsigned char *pixels = NULL;
    int most;
    if (!file) return NULL;
    if (fscanf(file, "P6 %d %d %d", width, height, &most) == 3 && most == 255 && *width > 0 && *height > 0 &&
        *width < 32768 && *height < 32768 && fgetc(file) != EOF) {
        size_t bytes = (size_t)*width * (size_t)*height * CHANNELS;
        pixels = malloc(bytes);
        if (pixels && fread(pixels, 1, bytes, file) != bytes) {
            free(pixels);
            pixels = NULL;
        }
    }
    fclose(file);
    return pixels;
}

/* Nearest pixels, in planes, as the network was trained: (x - 127) / 128. */
static void prepare(const unsigned char *pixels, int width, int height, float *input) {
    int c, y, x;
    for (c = 0; c < CHANNELS; c++)
        for (y = 0; y < SIZE; y++)
            for (x = 0; x < SIZE; x++) {
                size_t from = (size_t)(y * height / SIZE) * (size_t)width + (size_t)(x * width / SIZE);
                input[(c * SIZE + y) * SIZE + x] = ((float)pixels[from * CHANNELS + (size_t)c] - 127.0f) / 128.0f;
            }
}

#ifdef EXTERNAL_WEIGHTS
/* A whole file at an address that is a multiple of 64. A host with memory-mapped files would map it instead. */
static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    void *data = NULL;
    long end;
    if (!file) return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0) {
        *size = (size_t)end;
        data = aligned_alloc(64, (*size + 63) / 64 * 64);
        if (data && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(file);
    return data;
}
#endif

int main(int argc, char **argv) {
    static float image[EFFICIENTNET_LITE0_INPUT_0_ELEMENTS], scores[CLASSES];
    const void *inputs[EFFICIENTNET_LITE0_INPUT_COUNT];
    void *outputs[EFFICIENTNET_LITE0_OUTPUT_COUNT];
    avocet_context context = {NULL, NULL, NULL, NULL, NULL};
    unsigned char *pixels;
    int width, height, i, rank;
    int32_t status;
    if (argc < 2) return fail("expected a picture (PPM)");
    pixels = read_ppm(argv[1], &width, &height);
    if (!pixels) return fail("the picture is not a binary PPM of 8 bits");
    prepare(pixels, width, height, image);
    free(pixels);
    /* Inputs and outputs have the names that the model gives them; efficientnet_lite0_inputs() lists types and shapes. */
    inputs[EFFICIENTNET_LITE0_INPUT_INPUT] = image;
    outputs[EFFICIENTNET_LITE0_OUTPUT_OUTPUT] = scores;
    context.arena = aligned_alloc(EFFICIENTNET_LITE0_ARENA_ALIGNMENT, EFFICIENTNET_LITE0_ARENA_BYTES);
    if (!context.arena) return fail("no memory for the arena");
#ifdef EXTERNAL_WEIGHTS
    {
        size_t size;
        void *file = argc > 2 ? read_file(argv[2], &size) : NULL;
        context.weights = file ? efficientnet_lite0_weights(file, size) : NULL;
        if (!context.weights) return fail("the weights file is missing, damaged or another model's");
        status = efficientnet_lite0_invoke(inputs, outputs, &context);
        free(file);
    }
#else
    status = efficientnet_lite0_invoke(inputs, outputs, &context);
#endif
    free(context.arena);
    if (status != AVOCET_OK) return fail("the network refused its pointers");
    for (rank = 0; rank < TOP; rank++) {
        int best = 0;
        for (i = 1; i < CLASSES; i++)
            if (scores[i] > scores[best]) best = i;
        printf("%d %.6f\n", best, (double)scores[best]);
        scores[best] = -1e30f;
    }
    return 0;
}
