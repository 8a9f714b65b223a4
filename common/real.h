// Floating-point numbers as text that JSON, TOML, and YAML 1.1 and 1.2 readers all take for the same number.
#ifndef COCO_COMMON_REAL_H
#define COCO_COMMON_REAL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_TEXT_MAX 40

// The shortest text that reads back as v, always with a point: YAML 1.1 takes 1e+20 for a string, and 1 is an
// integer. v is finite. Returns text. Programs here never leave the C locale, so the point is a point.
static inline const char *real_text(double v, char text[static REAL_TEXT_MAX])
{
	for (int precision = 15; precision <= 17; precision++) {
		(void)snprintf(text, REAL_TEXT_MAX, "%.*g", precision, v);
		if (memcmp(&(double){strtod(text, NULL)}, &v, sizeof(v)) == 0)
			break;
	}
	if (strchr(text, '.') != NULL)
		return text;
	char *exponent = text + strcspn(text, "e");
	memmove(exponent + 2, exponent, strlen(exponent) + 1);
	memcpy(exponent, ".0", 2);
	return text;
}

#endif
