// Counters, gauges and histograms in Prometheus' text format (version 0.0.4).
//
// A program declares its metrics as static objects and registers each once at start, before threads; updates are
// lock-free and allocate nothing. Label values are fixed at declaration: a stranger can't make new series.
#ifndef COCO_COMMON_METRICS_H
#define COCO_COMMON_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

// One series of a counter or gauge. labels: as in the exposition, `code="200",path="/x"`, or "" for none.
struct metric_series {
	const char *labels;
	_Atomic int64_t value;
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	const char *name;
	const char *help;
	enum metric_type type;
	struct metric_series *series;
	size_t n;
	struct metric *next; // set by metrics_register
	// Labels that all series have beside their own, NULL for none: what is known only once the program runs. May be NULL.
	const char *(*common)(void);
	bool sparse; // series that are 0 are left out: of a table of which few fields are ever used
};

// Durations, seen as seconds in the exposition. bounds_us: upper bounds in microseconds, rising.
#define METRIC_BUCKETS_MAX 24

struct metric_histogram_series {
	const char *labels;
	_Atomic uint64_t bucket[METRIC_BUCKETS_MAX + 1]; // the last is +Inf; not cumulative here
	_Atomic uint64_t sum_us;
};

struct metric_histogram {
	const char *name; // ends in _seconds
	const char *help;
	const uint32_t *bounds_us;
	size_t nbounds;
	struct metric_histogram_series *series;
	size_t n;
	struct metric_histogram *next;
	const char *(*common)(void); // as in struct metric
	bool sparse;                 // series without an observation are left out
};

// From 100 us to 10 s, as admission latencies need.
extern const uint32_t METRIC_BOUNDS_LATENCY_US[];
extern const size_t METRIC_BOUNDS_LATENCY_N;

void metrics_register(struct metric *m) __attribute__((nonnull));
void metrics_register_histogram(struct metric_histogram *h) __attribute__((nonnull));
static inline void metric_add(struct metric_series *s, int64_t by)
{
	atomic_fetch_add_explicit(&s->value, by, memory_order_relaxed);
}
static inline void metric_set(struct metric_series *s, int64_t value)
{
	atomic_store_explicit(&s->value, value, memory_order_relaxed);
}
void metric_observe_us(const struct metric_histogram *h, struct metric_histogram_series *s, uint64_t us)
	__attribute__((nonnull));
// Who we are, for coco_build_info; static text. Once, at start.
void metrics_set_program(const char *name) __attribute__((nonnull));
// Appends all registered metrics, coco_build_info{program,version} where the program is known, and the process' own:
// process_resident_memory_bytes, process_virtual_memory_bytes, process_cpu_seconds_total, process_start_time_seconds,
// process_open_fds, process_max_fds.
void metrics_write(struct buf *out) __attribute__((nonnull));

// For what comes and goes while a program runs, such as a queue: who keeps those numbers appends them, one head for each
// name, then its series. labels: as in struct metric_series.
void metric_write_head(struct buf *out, const char *name, const char *help, enum metric_type type)
	__attribute__((nonnull));
void metric_write_value(struct buf *out, const char *name, const char *labels, int64_t value) __attribute__((nonnull));
void metric_write_seconds(struct buf *out, const char *name, const char *labels, uint64_t us) __attribute__((nonnull));
// One series of a histogram; of h only name, bounds and common are looked at.
void metric_write_histogram(struct buf *out, const struct metric_histogram *h, const struct metric_histogram_series *s)
	__attribute__((nonnull));

#endif
