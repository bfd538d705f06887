/* SPDX-License-Identifier: GPL-2.0 */
/* What the sources of the corpus share: as little of a kernel as they need. */

typedef unsigned int u32;
typedef unsigned long u64;

#define noinline __attribute__((noinline))
#define __init __section(".init.text") noinline
#define noinstr __section(".noinstr.text") noinline notrace
#if defined(__aarch64__) || defined(__powerpc64__) && defined(__clang__)
#define notrace __attribute__((patchable_function_entry(0, 0)))
#else
#define notrace __attribute__((no_instrument_function))
#endif
#define __used __attribute__((used))
#define __section(name) __attribute__((section(name)))
/* Another value of a variable than the compiler knows of. */
#define hide(value) __asm__("" : "+r"(value))

int _printk(const char *format, ...);
void __might_sleep(const char *file, int line);
void lockdep_rcu_suspicious(const char *file, int line, const char *what);
void use(void *pointer);
int consume(int number);
