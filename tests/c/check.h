/* What the C tests share: one line for each check that fails, and their count. */
#ifndef NNCORE_CHECK_H
#define NNCORE_CHECK_H

#include <stdio.h>

extern int failures;

#define CHECK(condition, ...)                                                                    \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            failures++;                                                                          \
            printf("FAILED %s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            printf(__VA_ARGS__);                                                                 \
            printf("\n");                                                                        \
        }                                                                                        \
    } while (0)

#endif
