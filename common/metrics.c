#include "common/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/version.h"

const uint32_t METRIC_BOUNDS_LATENCY_US[] = {100,   250,    500,    1000,   2500,    5000,    10000,   25000,
											 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
const size_t METRIC_BOUNDS_LATENCY_N = sizeof(METRIC_BOUNDS_LATENCY_US) / sizeof(METRIC_BOUNDS_LATENCY_US[0]);

static struct metric *metrics_first;
static struct metric_histogram *histograms_first;
static const char *program;

void metrics_register(struct metric *m)
{
	struct metric **at = &metrics_first;
	while (*at != NULL && *at != m)
		at = &(*at)->next;
	if (*at == m)
		return;
	m->next = NULL;
	*at = m;
}

void metrics_register_histogram(struct metric_histogram *h)
{
	struct metric_histogram **at = &histograms_first;
	while (*at != NULL && *at != h)
		at = &(*at)->next;
	if (*at == h)
		return;
	h->next = NULL;
	*at = h;
}

static size_t bounds_used(const struct metric_histogram *h)
{
	return h->nbounds < METRIC_BUCKETS_MAX ? h->nbounds : METRIC_BUCKETS_MAX;
}

// The +Inf bucket comes right after the bounds in use, wherever that is.
void metric_observe_us(const struct metric_histogram *h, struct metric_histogram_series *s, uint64_t us)
{
	size_t n = bounds_used(h);
	size_t i = 0;
	while (i < n && us > h->bounds_us[i])
		i++;
	atomic_fetch_add_explicit(&s->bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->sum_us, us, memory_order_relaxed);
}

void metric_write_head(struct buf *out, const char *name, const char *help, enum metric_type type)
{
	static const char *const TYPES[] = {
		[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
	buf_addf(out, "# HELP %s ", name);
	for (const char *c = help; *c != '\0'; c++) {
		if (*c == '\n')
			buf_addz(out, "\\n");
		else if (*c == '\\')
			buf_addz(out, "\\\\");
		else
			buf_addc(out, *c);
	}
	buf_addf(out, "\n# TYPE %s %s\n", name, TYPES[type]);
}

// Microseconds as seconds, exactly and without trailing zeros: no floating point, no locale.
static void write_seconds(struct buf *out, uint64_t us)
{
	char text[40];
	int n = snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
	if (n <= 0)
		return;
	size_t end = (size_t)n;
	while (text[end - 1] == '0')
		end--;
	if (text[end - 1] == '.')
		end--;
	buf_add(out, text, end);
}

static void write_labels(struct buf *out, const char *labels, const char *common)
{
	if (labels[0] != '\0' || common[0] != '\0')
		buf_addf(out, "{%s%s%s}", labels, labels[0] != '\0' && common[0] != '\0' ? "," : "", common);
}

static void write_value(struct buf *out, const char *name, const char *labels, const char *common, int64_t value)
{
	buf_addz(out, name);
	write_labels(out, labels, common);
	buf_addf(out, " %" PRId64 "\n", value);
}

static const char *common_of(const char *(*common)(void))
{
	const char *labels = common != NULL ? common() : NULL;
	return labels != NULL ? labels : "";
}

void metric_write_value(struct buf *out, const char *name, const char *labels, int64_t value)
{
	write_value(out, name, labels, "", value);
}

void metric_write_seconds(struct buf *out, const char *name, const char *labels, uint64_t us)
{
	buf_addz(out, name);
	write_labels(out, labels, "");
	buf_addc(out, ' ');
	write_seconds(out, us);
	buf_addc(out, '\n');
}

static void write_metric(struct buf *out, const struct metric *m)
{
	const char *common = common_of(m->common);
	metric_write_head(out, m->name, m->help, m->type);
	for (size_t i = 0; i < m->n; i++) {
		int64_t value = atomic_load_explicit(&m->series[i].value, memory_order_relaxed);
		if (value != 0 || !m->sparse)
			write_value(out, m->name, m->series[i].labels, common, value);
	}
}

static void write_bucket(struct buf *out, const struct metric_histogram *h, const char *labels, const char *common,
						 size_t i, uint64_t total)
{
	buf_addf(out, "%s_bucket{%s%s%s%sle=\"", h->name, labels, labels[0] != '\0' ? "," : "", common,
			 common[0] != '\0' ? "," : "");
	if (i < bounds_used(h))
		write_seconds(out, h->bounds_us[i]);
	else
		buf_addz(out, "+Inf");
	buf_addf(out, "\"} %" PRIu64 "\n", total);
}

void metric_write_histogram(struct buf *out, const struct metric_histogram *h, const struct metric_histogram_series *s)
{
	// Each bucket is read once, so that _count is what +Inf says even while others count.
	uint64_t total = 0;
	const char *common = common_of(h->common);
	for (size_t i = 0; i <= bounds_used(h); i++) {
		total += atomic_load_explicit(&s->bucket[i], memory_order_relaxed);
		write_bucket(out, h, s->labels, common, i, total);
	}
	buf_addf(out, "%s_sum", h->name);
	write_labels(out, s->labels, common);
	buf_addc(out, ' ');
	write_seconds(out, atomic_load_explicit(&s->sum_us, memory_order_relaxed));
	buf_addf(out, "\n%s_count", h->name);
	write_labels(out, s->labels, common);
	buf_addf(out, " %" PRIu64 "\n", total);
}

static bool is_empty(const struct metric_histogram *h, const struct metric_histogram_series *s)
{
	uint64_t any = 0;
	for (size_t i = 0; i <= bounds_used(h); i++)
		any |= atomic_load_explicit(&s->bucket[i], memory_order_relaxed);
	return any == 0;
}

static void write_histogram(struct buf *out, const struct metric_histogram *h)
{
	metric_write_head(out, h->name, h->help, METRIC_HISTOGRAM);
	for (size_t i = 0; i < h->n; i++)
		if (!h->sparse || !is_empty(h, &h->series[i]))
			metric_write_histogram(out, h, &h->series[i]);
}

void metrics_set_program(const char *name)
{
	program = name;
}

static void write_build(struct buf *out)
{
	if (program == NULL)
		return;
	metric_write_head(out, "coco_build_info", "Which program this is, and its version.", METRIC_GAUGE);
	buf_addf(out, "coco_build_info{program=\"%s\",version=\"%s\"} 1\n", program, COCO_VERSION);
}

static void write_process_value(struct buf *out, const char *name, const char *help, enum metric_type type,
								uint64_t value)
{
	metric_write_head(out, name, help, type);
	buf_addf(out, "%s %" PRIu64 "\n", name, value);
}

static void write_memory(struct buf *out)
{
	FILE *f CLEANUP_FCLOSE = fopen("/proc/self/statm", "re");
	uint64_t all = 0;
	uint64_t resident = 0;
	if (f == NULL || fscanf(f, "%" SCNu64 " %" SCNu64, &all, &resident) != 2)
		return;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	write_process_value(out, "process_resident_memory_bytes", "Memory that is resident, in bytes.", METRIC_GAUGE,
						resident * page);
	write_process_value(out, "process_virtual_memory_bytes", "Address space that is mapped, in bytes.", METRIC_GAUGE,
						all * page);
}

// The same sum as utime + stime of /proc/self/stat, which only has it in hundredths of a second.
static void write_cpu(struct buf *out)
{
	struct timespec t;
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
		return;
	metric_write_head(out, "process_cpu_seconds_total", "CPU time used so far, the kernel's for it included.",
					  METRIC_COUNTER);
	buf_addz(out, "process_cpu_seconds_total ");
	write_seconds(out, (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
	buf_addc(out, '\n');
}

// Field 22 of /proc/self/stat, in ticks since boot. The name in parentheses may hold anything, so start after it.
static bool read_start_ticks(uint64_t *ret)
{
	FILE *f CLEANUP_FCLOSE = fopen("/proc/self/stat", "re");
	char line[1024];
	if (f == NULL || fgets(line, sizeof(line), f) == NULL)
		return false;
	const char *p = strrchr(line, ')');
	for (int field = 2; p != NULL && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p != NULL && sscanf(p, "%" SCNu64, ret) == 1;
}

static bool read_boot_time(uint64_t *ret)
{
	FILE *f CLEANUP_FCLOSE = fopen("/proc/stat", "re");
	char *line CLEANUP_FREE = NULL;
	size_t cap = 0;
	while (f != NULL && getline(&line, &cap, f) > 0) {
		if (sscanf(line, "btime %" SCNu64, ret) == 1)
			return true;
	}
	return false;
}

static void write_start_time(struct buf *out)
{
	uint64_t ticks = 0;
	uint64_t boot = 0;
	long hz = sysconf(_SC_CLK_TCK);
	if (hz <= 0 || !read_start_ticks(&ticks) || !read_boot_time(&boot))
		return;
	metric_write_head(out, "process_start_time_seconds", "When the process was started, in seconds since 1970.",
					  METRIC_GAUGE);
	buf_addz(out, "process_start_time_seconds ");
	write_seconds(out, boot * 1000000 + ticks * 1000000 / (uint64_t)hz);
	buf_addc(out, '\n');
}

static void write_fds(struct buf *out)
{
	DIR *dir = opendir("/proc/self/fd");
	if (dir != NULL) {
		uint64_t n = 0;
		for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
			n += e->d_name[0] != '.';
		(void)closedir(dir);
		// Not the one that lists the directory.
		write_process_value(out, "process_open_fds", "File descriptors that are open.", METRIC_GAUGE,
							n > 0 ? n - 1 : 0);
	}
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		write_process_value(out, "process_max_fds", "File descriptors that may be open at once.", METRIC_GAUGE,
							(uint64_t)limit.rlim_cur);
}

void metrics_write(struct buf *out)
{
	for (const struct metric *m = metrics_first; m != NULL; m = m->next)
		write_metric(out, m);
	for (const struct metric_histogram *h = histograms_first; h != NULL; h = h->next)
		write_histogram(out, h);
	write_build(out);
	write_memory(out);
	write_cpu(out);
	write_start_time(out);
	write_fds(out);
}
