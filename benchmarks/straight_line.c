/* What a step of 2-2-2 (sigmoid, mse, SGD, batch 1) takes that is compiled for this net alone and checks nothing:
   the limit that docs/performance.md speaks of. The exponential is nncore's.

   cc -O3 -march=native -fno-math-errno -fno-trapping-math straight_line.c -o straight_line -lm && ./straight_line */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROWS 2000
#define EPOCHS 3000

static float x[ROWS][2], t[ROWS][2];
static int order[ROWS];

static inline float power_of_two(float n)
{
    const uint32_t bits = ((uint32_t)(int32_t)n + 127u) << 23;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static inline float sigmoid(float z)
{
    const float v = -fabsf(z) < -105.0f ? -105.0f : -fabsf(z);
    const float n = rintf(v * 1.442695040888963407f), half = rintf(n / 2);
    const float r = (v - n * 0.693115234375f) - n * 3.1946184945309417232e-5f;
    const float r2 = r * r, s = power_of_two(half);
    const float high = (0.04166646492528590541f + 0.008333310925480900835f * r)
                       + r2 * (0.001393364999630925043f + 0.0001989099082467365385f * r);
    const float p = (0.50000000134658092f + 0.166666666816232314f * r) + r2 * high;
    const float e = (s + s * (r + r2 * p)) * power_of_two(n - half);
    return (z < 0 ? e : 1.0f) / (1 + e);
}

int main(void)
{
    float w1[2][2] = {{.15f, .25f}, {.2f, .3f}}, b1[2] = {.35f, .35f};
    float w2[2][2] = {{.4f, .5f}, {.45f, .55f}}, b2[2] = {.6f, .6f};
    const float rate = 0.01f;
    double best = 1e9, loss = 0;
    int epoch, s, i, j;
    for (s = 0; s < ROWS; s++) {
        for (j = 0; j < 2; j++) {
            x[s][j] = (float)((s * 37 + j * 11) % 101) / 101;
            t[s][j] = (float)((s * 53 + j * 29) % 97) / 97;
        }
        order[s] = (int)((s * 7919L) % ROWS);
    }
    for (epoch = 0; epoch < EPOCHS; epoch++) {
        struct timespec a, b;
        double took;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (s = 0; s < ROWS; s++) {
            const float *in = x[order[s]], *target = t[order[s]];
            float h[2], dz[2], dh[2];
            for (j = 0; j < 2; j++)
                h[j] = sigmoid(b1[j] + in[0] * w1[0][j] + in[1] * w1[1][j]);
            for (j = 0; j < 2; j++) {
                const float y = sigmoid(b2[j] + h[0] * w2[0][j] + h[1] * w2[1][j]);
                loss += (y - target[j]) * (y - target[j]) / 2;
                dz[j] = (y - target[j]) * y * (1 - y);
            }
            for (i = 0; i < 2; i++)
                dh[i] = (dz[0] * w2[i][0] + dz[1] * w2[i][1]) * h[i] * (1 - h[i]);
            for (i = 0; i < 2; i++)
                for (j = 0; j < 2; j++) {
                    w2[i][j] -= rate * h[i] * dz[j];
                    w1[i][j] -= rate * in[i] * dh[j];
                }
            for (j = 0; j < 2; j++) {
                b2[j] -= rate * dz[j];
                b1[j] -= rate * dh[j];
            }
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        took = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
        best = took < best ? took : best;
    }
    printf("%.1f ns a step (mean loss %.4f)\n", best / ROWS, loss / ROWS / EPOCHS);
    return 0;
}
