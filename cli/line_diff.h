// The lines in which two texts differ.
#ifndef COCO_CLI_LINE_DIFF_H
#define COCO_CLI_LINE_DIFF_H

#include <stdio.h>

// Prints "- old" and "+ new" lines, in order, without the lines in common. Texts with more than some thousand differing
// lines are printed as all old, then all new.
void line_diff(const char *a, const char *b, FILE *to) __attribute__((nonnull));

// The same as a unified diff: hunks with their line numbers and three lines of context, without a head. Nothing where both are
// the same.
void line_diff_unified(const char *a, const char *b, FILE *to) __attribute__((nonnull));

#endif
