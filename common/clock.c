#include "common/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#define MICROS 1000000

static int64_t read_ms(clockid_t id)
{
	struct timespec t = {0};
	(void)clock_gettime(id, &t); // can't fail: both ids exist wherever this runs
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t real_mono_ms(void *ctx)
{
	(void)ctx;
	return read_ms(CLOCK_MONOTONIC);
}

static int64_t real_wall_ms(void *ctx)
{
	(void)ctx;
	return read_ms(CLOCK_REALTIME);
}

const struct clock clock_real = {real_mono_ms, real_wall_ms, NULL};

void clock_text(int64_t wall_us, int micros, char text[CLOCK_TEXT_MAX])
{
	int64_t rest = wall_us % MICROS;
	time_t seconds = (time_t)(wall_us / MICROS);
	if (rest < 0) {
		rest += MICROS;
		seconds--;
	}
	struct tm tm = {0};
	(void)gmtime_r(&seconds, &tm); // the year of any int64_t of microseconds fits
	// Not strftime's %F, which leaves the year's zeros out.
	int n = snprintf(text, CLOCK_TEXT_MAX, "%04d", tm.tm_year + 1900);
	size_t at = (size_t)n + strftime(text + n, CLOCK_TEXT_MAX - (size_t)n, "-%m-%dT%H:%M:%S", &tm);
	if (micros)
		(void)snprintf(text + at, CLOCK_TEXT_MAX - at, ".%06dZ", (int)rest);
	else
		(void)snprintf(text + at, CLOCK_TEXT_MAX - at, "Z");
}

// Exactly n digits at *p, which moves behind them; at most max.
static bool read_number(const char **p, int n, int max, int *ret)
{
	int v = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return v <= max;
}

static bool read_char(const char **p, const char *any)
{
	for (; *any != '\0'; any++)
		if (**p == *any) {
			(*p)++;
			return true;
		}
	return false;
}

// Digits beyond the sixth are dropped.
static bool read_fraction(const char **p, int *ret_us)
{
	int us = 0;
	int scale = MICROS;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		us = scale > 1 ? us * 10 + (**p - '0') : us;
		scale = scale > 1 ? scale / 10 : 1;
	}
	*ret_us = us * scale;
	return true;
}

static bool read_offset(const char **p, int *ret_s)
{
	int hours = 0;
	int minutes = 0;
	*ret_s = 0;
	if (read_char(p, "Zz"))
		return true;
	int sign = **p == '-' ? -1 : 1;
	if (!read_char(p, "+-") || !read_number(p, 2, 23, &hours) || !read_char(p, ":") || !read_number(p, 2, 59, &minutes))
		return false;
	*ret_s = sign * (hours * 3600 + minutes * 60);
	return true;
}

static int days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return days[month - 1] + (month == 2 && leap);
}

int clock_parse(const char *text, int64_t *ret_wall_us)
{
	const char *p = text;
	struct tm tm = {0};
	int us = 0;
	int offset_s = 0;
	bool day = read_number(&p, 4, 9999, &tm.tm_year) && read_char(&p, "-") && read_number(&p, 2, 12, &tm.tm_mon) &&
			   read_char(&p, "-") && read_number(&p, 2, 31, &tm.tm_mday);
	if (!day || tm.tm_mon < 1 || tm.tm_mday < 1 || tm.tm_mday > days_of(tm.tm_year, tm.tm_mon))
		return -EINVAL;
	// A leap second is the next minute's first, as for the system's clock.
	bool time = read_char(&p, "Tt") && read_number(&p, 2, 23, &tm.tm_hour) && read_char(&p, ":") &&
				read_number(&p, 2, 59, &tm.tm_min) && read_char(&p, ":") && read_number(&p, 2, 60, &tm.tm_sec);
	if (!time || (read_char(&p, ".") && !read_fraction(&p, &us)) || !read_offset(&p, &offset_s) || *p != '\0')
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ret_wall_us = ((int64_t)timegm(&tm) - offset_s) * MICROS + us;
	return 0;
}
