/* core.pyx for one instruction set and number type; setup.py gives the compiler's flags. */
#define NNCORE_DOUBLE 0
#define PyInit__core PyInit__core_x86_64_v2_f32
#include "../core.c"
