// What the API server answers, from bytes to trees, and the pages of a list. PURE
#ifndef COCO_COMMON_KUBE_ANSWER_H
#define COCO_COMMON_KUBE_ANSWER_H

#include <jansson.h>

#include "common/error.h"
#include "common/kube/resource.h"
#include "common/str.h"

// A new tree, NULL with EIO. Duplicate keys are refused. \u0000 in a text is taken, since anyone may write that into an
// annotation, and one object must not spoil a list: C's functions see such a text up to there. So is an integer that 64
// bits can't hold, as 1e20 comes in a number of somebody's resource: it is a real, and in that answer so are all integers
// from 2^53 on. No part of the text goes into the message, as it may be a Secret.
json_t *kube_answer_read(struct str text, struct error *err) __attribute__((warn_unused_result, nonnull));

struct kube_list_page {
	json_t *items;                // new
	const char *next;             // token for the next page, borrowed from the list; NULL on the last
	const char *resource_version; // borrowed; "" where the list has none
};

// Takes a list apart, and sets apiVersion and kind in each item that has none: as the list's kind says ("PodList"), or
// res. What is no list, NULL included, is EIO. Changes list, which must live as long as the page.
int kube_list_page_read(json_t *list, const struct kube_resource *res, struct kube_list_page *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull(2, 3, 4)));
void kube_list_page_release(struct kube_list_page *p) __attribute__((nonnull));

#endif
