// The lines in which two texts differ.
#ifndef COCO_CLI_LINE_DIFF_H
#define COCO_CLI_LINE_DIFF_H

#include <stdio.h>

// Prints "- old" and "+ new" lines, in order, without the lines in common. Texts with more than some thousand differing
// lines are printed as all old, then all new.
void line_diff(const char *a, const char *b, FILE *to) __attribute__((nonnull));

#endif
