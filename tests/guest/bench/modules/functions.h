/* SPDX-License-Identifier: GPL-2.0 */
/* EACH_500(X) is X(0000) X(0001) ... X(0499). */
#define BENCH_TEN(X, n)                                                                          \
	X(n##0) X(n##1) X(n##2) X(n##3) X(n##4) X(n##5) X(n##6) X(n##7) X(n##8) X(n##9)
#define BENCH_HUNDRED(X, n)                                                                      \
	BENCH_TEN(X, n##0) BENCH_TEN(X, n##1) BENCH_TEN(X, n##2) BENCH_TEN(X, n##3)              \
	BENCH_TEN(X, n##4) BENCH_TEN(X, n##5) BENCH_TEN(X, n##6) BENCH_TEN(X, n##7)              \
	BENCH_TEN(X, n##8) BENCH_TEN(X, n##9)
#define BENCH_THOUSAND(X, n)                                                                     \
	BENCH_HUNDRED(X, n##0) BENCH_HUNDRED(X, n##1) BENCH_HUNDRED(X, n##2)                     \
	BENCH_HUNDRED(X, n##3) BENCH_HUNDRED(X, n##4) BENCH_HUNDRED(X, n##5)                     \
	BENCH_HUNDRED(X, n##6) BENCH_HUNDRED(X, n##7) BENCH_HUNDRED(X, n##8)                     \
	BENCH_HUNDRED(X, n##9)
#define EACH_1(X) X(0000)
#define EACH_10(X) BENCH_TEN(X, 000)
#define EACH_50(X)                                                                               \
	BENCH_TEN(X, 000) BENCH_TEN(X, 001) BENCH_TEN(X, 002) BENCH_TEN(X, 003)                  \
	BENCH_TEN(X, 004)
#define EACH_100(X) BENCH_HUNDRED(X, 00)
#define EACH_500(X)                                                                              \
	BENCH_HUNDRED(X, 00) BENCH_HUNDRED(X, 01) BENCH_HUNDRED(X, 02) BENCH_HUNDRED(X, 03)      \
	BENCH_HUNDRED(X, 04)
#define EACH_2000(X) BENCH_THOUSAND(X, 0) BENCH_THOUSAND(X, 1)
