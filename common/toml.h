// TOML 1.0 in and out, over jansson trees. PURE
//
// Debian has no TOML library for C. The reader accepts what the specification (toml.io/en/v1.0.0) says and
// refuses the rest; tests compare it with Python's tomllib.
#ifndef COCO_COMMON_TOML_H
#define COCO_COMMON_TOML_H

#include <jansson.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/str.h"

#define TOML_TEXT_MAX ((size_t)16 * 1024 * 1024) // of one document
#define TOML_DEPTH_MAX 64                        // of tables and arrays within each other
#define TOML_NODES_MAX 1000000                   // values and tables of one document

// The document as an object in the order of the text; new, NULL on error, where err says "line L, column C: what".
// Dates and times become strings as written; a newline in a multi-line string becomes \n, whichever kind the text
// has. Strings must be UTF-8; a string with \u0000 is refused, since what reads it later is C. inf and nan are
// refused, and floats out of range: JSON has no such numbers. A byte order mark at the start is skipped.
json_t *toml_read(struct str text, struct error *err) __attribute__((warn_unused_result, nonnull));

// Writes an object as a TOML document: plain values first, then tables ([a.b]) and arrays of tables ([[a]]), each
// in the object's order. A string with newlines is written as a multi-line literal ('''), where that says exactly
// the same, else as a multi-line basic string ("""). The same tree gives the same bytes. JSON null is an error. Appends;
// after an error out holds a part.
int toml_write(const json_t *table, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
