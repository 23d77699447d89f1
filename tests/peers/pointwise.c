/* A pointwise convolution of MobileNetV2 in C, without its ReLU6: what a compiler makes of it is held against avocet's kernel.
 * PLAIN: loops in the order that compilers can turn into vectors. Otherwise ROWS pixels by VECTORS vectors of LANES numbers
 * are summed up in registers, with the vectors of GCC and clang, and the weights lie in panels of as many channels. */
enum { PIXELS = 196, IN = 96, OUT = 576 };

#ifdef PLAIN

void pointwise(const float *restrict x, const float *restrict w, const float *restrict b, float *restrict y) {
    for (int p = 0; p < PIXELS; p++) {
        float *restrict out = y + p * OUT;
        for (int o = 0; o < OUT; o++) out[o] = b[o];
        for (int i = 0; i < IN; i++)
            for (int o = 0; o < OUT; o++) out[o] += x[p * IN + i] * w[i * OUT + o];
    }
}

#else

#if LANES > 1
typedef float vector __attribute__((vector_size(LANES * 4)));
#else
typedef float vector;
#endif
typedef vector anywhere __attribute__((aligned(4), may_alias));
enum { WIDTH = VECTORS * LANES };
_Static_assert(PIXELS % ROWS == 0 && OUT % WIDTH == 0, "blocks fill the layer");

void pointwise(const float *restrict x, const float *restrict w, const float *restrict b, float *restrict y) {
    for (int o = 0; o < OUT; o += WIDTH)
        for (int p = 0; p < PIXELS; p += ROWS) {
            vector sums[ROWS][VECTORS];
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                for (int v = 0; v < VECTORS; v++) sums[r][v] = *(const anywhere *)(b + o + v * LANES);
            const float *panel = w + o * IN;
            for (int i = 0; i < IN; i++) {
#pragma GCC unroll 16
                for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                    for (int v = 0; v < VECTORS; v++)
                        sums[r][v] += x[(p + r) * IN + i] * *(const anywhere *)(panel + i * WIDTH + v * LANES);
            }
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                for (int v = 0; v < VECTORS; v++) *(anywhere *)(y + (p + r) * OUT + o + v * LANES) = sums[r][v];
        }
}

#endif
