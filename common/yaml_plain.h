// What a plain scalar of YAML means. PURE
//
// As go-yaml v2 has it, the copy in sigs.k8s.io/yaml that kubectl uses: YAML 1.1 with y and n, plus YAML 1.2's 0o17
// and 1e3, without the sexagesimal numbers and with timestamps as text. Integers out of range become floats there; we
// refuse them.
#ifndef COCO_COMMON_YAML_PLAIN_H
#define COCO_COMMON_YAML_PLAIN_H

#include <jansson.h>
#include <stdbool.h>

#include "common/str.h"

enum yaml_meaning {
	MEANS_TEXT,
	MEANS_NULL,
	MEANS_TRUE,
	MEANS_FALSE,
	MEANS_INTEGER,
	MEANS_REAL,
	MEANS_HUGE_REAL, // out of range, hence text: 5e75421 may well be a commit
	MEANS_NOT_FINITE,
	MEANS_OUT_OF_RANGE,
};

struct yaml_plain {
	enum yaml_meaning meaning;
	json_int_t integer;
	double real;
};

static inline bool yaml_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

struct yaml_plain yaml_plain_resolve(struct str s);

#endif
